import NIOCore
import Testing

@testable import Proxy

@Suite("Instances in an answer")
struct ProgramInstanceTests {
    @Test(
        "the field is a list",
        arguments: [
            (nil, []), ("", []), ("a1", ["a1"]), ("a1, b2,c3 ,\td4", ["a1", "b2", "c3", "d4"]),
            ("a1, \(String(repeating: "f", count: 33)), b2", ["a1", "b2"]),
        ] as [(String?, [String])])
    func list(value: String?, expected: [String]) {
        #expect(ProgramInstance.list(value) == expected)
    }

    @Test("a list without end is cut")
    func longList() {
        let most = ProgramInstance.maxListed
        #expect(ProgramInstance.list(Array(repeating: "a", count: most).joined(separator: ",")).count == most)
        #expect(ProgramInstance.list(Array(repeating: "a", count: most + 1).joined(separator: ",")).count == most)
    }

    @Test("an answer lists each once, and no more than another proxy can read")
    func union() {
        #expect(ProgramInstance.union([["b2", "a1"], [], ["a1", "c3"]]) == ["a1", "b2", "c3"])
        let most = ProgramInstance.maxAnswered
        let names = (0...most).map { String($0, radix: 16) }
        #expect(ProgramInstance.union([Array(names[..<most])]).count == most)
        #expect(ProgramInstance.union([Array(names[..<10]), Array(names[10...])]).count == most)
    }

    @Test("an exposition keeps them, wherever its bytes are moved")
    func kept() {
        let exposition = Exposition(endingInNewline: ByteBuffer(string: "a 1\n"))
        #expect(exposition.instances == [])
        let polled = exposition.containing(["a1", "b2"])
        #expect(polled.instances == ["a1", "b2"] && polled.buffer == exposition.buffer)
        #expect(Exposition(polled, movedTo: ByteBuffer(string: "a 1\n")).instances == ["a1", "b2"])
    }
}
