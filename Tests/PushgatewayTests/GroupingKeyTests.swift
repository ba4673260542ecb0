import Pushgateway
import Testing

@Suite("GroupingKey")
struct GroupingKeyTests {
    @Test(
        "a path names a group, whose app is named after its labels in order",
        arguments: [
            ("job/backup", "job/backup"),
            ("job/backup/", "job/backup"),
            ("job/backup/instance/host1", "job/backup/instance/host1"),
            ("job/j/b/2/a/1", "job/j/a/1/b/2"),
            ("job/j/a/1/a/2", "job/j/a/2"),
            ("job/j/job/other", "job/j"),
            ("job/j/empty//b/c", "job/j/b/c/empty/"),
            ("job@base64/L3Zhci90bXA", "job/%2Fvar%2Ftmp"),
            ("job@base64/L3Zhci90bXA=", "job/%2Fvar%2Ftmp"),
            ("job/j/path@base64/L3Zhci90bXA", "job/j/path/%2Fvar%2Ftmp"),
            ("job/j/path@base64/L3Zhci\r\n90bXA=\n", "job/j/path/%2Fvar%2Ftmp"),
            ("job/j/empty@base64/=", "job/j/empty/"),
            ("job/50%", "job/50%25"),
            ("job/a\nb", "job/a%0Ab"),
            ("job/ä", "job/ä"),
            // The slash and the mark behind it are one character.
            ("job/\u{301}j/a/\u{301}1", "job/\u{301}j/a/\u{301}1"),
        ])
    func names(path: String, name: String) throws {
        #expect(try GroupingKey(path: path).name == name)
    }

    @Test("all labels are there, the job among them, in order of name")
    func labels() throws {
        let key = try GroupingKey(path: "job/j/z/1/instance/")
        #expect(key.labels.map(\.name) == ["instance", "job", "z"])
        #expect(key.labels.map(\.value) == ["", "j", "1"])
        #expect(key.job == "j")
    }

    @Test(
        "a path that names no group is refused with its reason",
        arguments: [
            ("", GroupingKey.Fault.noJob), ("job", .noJob), ("job/", .noJob), ("jobs/x", .noJob), ("job@base64/=", .noJob),
            ("job/j/a", .oddParts), ("job/j/a/1/b", .oddParts), ("job/j/a/1/", .oddParts),
            ("job/j/1a/x", .invalidLabelName("1a")), ("job/j/__name__/x", .invalidLabelName("__name__")),
            ("job/j/a-b/x", .invalidLabelName("a-b")), ("job/j//x", .invalidLabelName("")), ("job/j/@base64/eA", .invalidLabelName("")),
            ("job/j/a@base64/!", .invalidBase64("a")), ("job/j/a@base64/A", .invalidBase64("a")),
            ("job/j/a@base64/=A", .invalidBase64("a")),
            ("job/j/a@base64/_w", .invalidText("a")), ("job/j/a@base64/AA", .invalidText("a")),
        ])
    func faults(path: String, fault: GroupingKey.Fault) {
        #expect(throws: fault) { try GroupingKey(path: path) }
    }

    @Test("a name of 256 bytes is the longest")
    func length() throws {
        #expect(try GroupingKey(path: "job/" + String(repeating: "x", count: 252)).name.utf8.count == 256)
        #expect(throws: GroupingKey.Fault.tooLong(limit: 256)) { try GroupingKey(path: "job/" + String(repeating: "x", count: 253)) }
        #expect(throws: GroupingKey.Fault.tooLong(limit: 256)) { try GroupingKey(path: "job/" + String(repeating: "%", count: 85)) }
    }
}
