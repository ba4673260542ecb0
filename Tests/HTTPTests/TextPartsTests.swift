import HTTP
import Testing

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
