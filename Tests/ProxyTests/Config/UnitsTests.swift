import Testing

@testable import Proxy

@Suite("Durations")
struct UnitsTests {
    @Test(
        "a missing unit is told; a value is suggested only if there is no other unit",
        arguments: [
            ("30", "the unit is missing; did you mean \"30s\"?"), ("1h30", "the unit after 30 is missing"),
            ("1m30s5", "the unit after 5 is missing"),
        ])
    func missingUnit(text: String, reason: String) {
        let error = #expect(throws: DurationText.Malformed.self) { try DurationText.parse(text) }
        #expect(error?.reason == reason)
    }
}
