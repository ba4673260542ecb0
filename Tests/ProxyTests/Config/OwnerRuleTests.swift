import Testing

@testable import Proxy

@Suite("Owner rules")
struct OwnerRuleTests {
    @Test(
        "a star stands for any characters, everything else for itself",
        arguments: [
            ("a", "a", true), ("a", "ab", false), ("*", "anything at all", true), ("a*", "a", true), ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false), ("a*c", "abc", true), ("a*c", "ac", true), ("a*a", "a", false), ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false), ("*b*", "abc", true), ("**", "x", true), ("a.c", "abc", false), ("A", "a", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false), ("ü*", "über", true), ("a?", "ab", false), ("job/*", "job/a/instance/b", true),
        ])
    func patterns(pattern: String, name: String, fits: Bool) throws {
        #expect(AppPattern(pattern).matches(try #require(AppName(name))) == fits)
    }

    @Test("many stars take no more time than the lengths allow")
    func manyStars() throws {
        let pattern = AppPattern(String(repeating: "*a", count: 100) + "b")
        let name = try #require(AppName(String(repeating: "a", count: 256)))
        let start = ContinuousClock.now
        for _ in 0..<100 { #expect(!pattern.matches(name)) }
        #expect(ContinuousClock.now - start < .seconds(5))
    }
}
