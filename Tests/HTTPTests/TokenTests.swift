import HTTP
import Testing

@Suite("Token")
struct TokenTests {
    @Test("letters, digits and fifteen signs", arguments: ["GET", "x-y", "!#$%&'*+-.^_`|~09"])
    func tokens(text: String) {
        #expect(text.utf8.allSatisfy(Token.isTokenByte))
    }

    @Test("separators and control characters are no part of a token", arguments: ["(", ":", " ", "\"", "/", "\u{7F}", "é"])
    func others(text: String) {
        #expect(!text.utf8.contains(where: Token.isTokenByte))
    }
}
