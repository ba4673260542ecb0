import Testing

@testable import Proxy

@Suite("AppName")
struct AppNameTests {
    @Test(
        "names are text without control characters",
        arguments: ["a", " ", "external_poll: 127.0.0.1:1027", "größe", "\u{A0}", "\u{FFFD}", "😀", "a\"b\\c", "\u{202E}"])
    func valid(name: String) throws {
        let made = try #require(AppName(name))
        #expect(Array(made.description.utf8) == Array(name.utf8))
    }

    @Test(
        "control characters are refused",
        arguments: ["", "\0", "a\nb", "\r", "\t", "\u{1F}", "a\u{7F}", "\u{80}", "x\u{85}", "\u{9F}"])
    func invalid(name: String) {
        #expect(AppName(name) == nil)
    }

    @Test("every scalar up to U+0100 is judged by its code point")
    func scalars() throws {
        for value in UInt32(0)...0x100 {
            let scalar = try #require(Unicode.Scalar(value))
            let isControl = value < 0x20 || (0x7F...0x9F).contains(value)
            #expect((AppName("x\(Character(scalar))y") == nil) == isControl, "U+\(String(value, radix: 16))")
        }
    }

    @Test("the length counts in bytes: 256 are taken, 257 refused")
    func length() {
        #expect(AppName(String(repeating: "a", count: 256)) != nil)
        #expect(AppName(String(repeating: "a", count: 257)) == nil)
        #expect(AppName(String(repeating: "ß", count: 128)) != nil)
        #expect(AppName(String(repeating: "ß", count: 128) + "a") == nil)
    }

    @Test("names are compared byte by byte, not by what they look like")
    func comparison() throws {
        let composed = try #require(AppName("\u{E9}"))
        let decomposed = try #require(AppName("e\u{301}"))
        #expect(composed != decomposed)
        #expect(composed.hashValue != decomposed.hashValue)
        #expect(decomposed < composed)
        let names = try ["B", "a", "ab", "b", "é", "z", "😀", "\u{FFFD}"].map { try #require(AppName($0)) }
        #expect(names.sorted().map(\.description) == ["B", "a", "ab", "b", "z", "é", "\u{FFFD}", "😀"])
    }
}
