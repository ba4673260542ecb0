import HTTP
import Testing

@Suite("Parts of URLs")
struct URLPartsTests {
    @Test(
        "host and port are split at the last colon, and an address in brackets after them",
        arguments: [
            ("host", "host", nil, false), ("host:80", "host", "80", false), ("host:", "host", "", false), (":80", "", "80", false),
            ("[::1]", "::1", nil, true), ("[::1]:80", "::1", "80", true), ("[]:80", "", "80", true), ("::1:80", "::1", "80", false),
            ("", "", nil, false),
        ] as [(String, String, String?, Bool)])
    func splits(text: String, host: String, port: String?, isBracketed: Bool) throws {
        let parts = try #require(HostAndPort(text[...]))
        #expect(String(parts.host) == host)
        #expect(parts.port.map { String($0) } == port)
        #expect(parts.isBracketed == isBracketed)
    }

    @Test("a bracket without its end, or with more than a port after it, is refused", arguments: ["[", "[::1", "[::1]80", "[::1]x:80"])
    func refuses(text: String) {
        #expect(HostAndPort(text[...]) == nil)
    }

    @Test("an IPv6 address is written in brackets")
    func writes() {
        #expect(HostAndPort.text("127.0.0.1", 80) == "127.0.0.1:80")
        #expect(HostAndPort.text("::1", UInt16(80)) == "[::1]:80")
        #expect(HostAndPort.bracketed("host") == "host" && HostAndPort.bracketed("::1") == "[::1]")
    }

    @Test("percent-encoding is read and written alike", arguments: ["", "a/b", "a b+c", "größe%41", "\u{0}\u{10FFFF}"])
    func percentEncoding(text: String) throws {
        for keepsSlash in [true, false] {
            let encoded = PercentEncoding.encode(text, keepsSlash: keepsSlash)
            #expect(encoded.contains("/") == (keepsSlash && text.contains("/")))
            #expect(try #require(PercentEncoding.decode(encoded[...].utf8)) == Array(text.utf8))
        }
    }

    @Test("a percent sign without two digits is refused, and a plus is a space in a query only", arguments: ["%", "%4", "%4g", "a%+1"])
    func malformed(text: String) {
        #expect(PercentEncoding.decode(text[...].utf8) == nil)
        #expect(PercentEncoding.decode("a+b"[...].utf8) == Array("a+b".utf8))
        #expect(PercentEncoding.decode("a+b"[...].utf8, plusIsSpace: true) == Array("a b".utf8))
    }
}
