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

@Suite("Parts of a text")
struct TextPartsTests {
    /// Makes one character with whatever stands before it.
    private let mark = "\u{301}"

    @Test("a delimiter counts also with a combining mark behind it")
    func marks() {
        #expect("a:\(mark)b".holds(":") && !"ab".holds(":"))
        #expect("/\(mark)a".begins(with: "/") && !"a/".begins(with: "/") && !"".begins(with: "/"))
        #expect("/apps/\(mark)a".after("/apps/") == "\(mark)a"[...])
        #expect("a/\(mark)b/c".parts(at: "/") == ["a", "\(mark)b", "c"])
    }

    @Test("what follows a prefix may be empty, and nothing follows another beginning")
    func after() {
        #expect("/apps/".after("/apps/") == "")
        #expect("/app".after("/apps/") == nil)
        #expect("x/apps/".dropFirst().after("/apps/") == "")
    }

    @Test(
        "parts may be empty, and are at most as many as asked for",
        arguments: [
            ("", Int.max, [""]), ("a", .max, ["a"]), ("/", .max, ["", ""]), ("a//b/", .max, ["a", "", "b", ""]),
            ("a/b/c", 2, ["a", "b/c"]), ("a/b", 1, ["a/b"]),
        ])
    func parts(text: String, most: Int, parts: [String]) {
        #expect(text.parts(at: "/", most: most).map(String.init) == parts)
    }
}
