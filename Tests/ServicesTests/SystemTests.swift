import Glibc
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("what the system is asked for")
struct SystemTests {
    @Test(
        "a path is divided at its last slash",
        arguments: [
            ("file", ".", "file"), ("/file", "/", "file"), ("a/b/file", "a/b", "file"), ("/a/", "/a", ""), ("", ".", ""),
            // A slash with a combining accent is one character.
            ("/a/\u{301}file", "/a", "\u{301}file"),
        ])
    func paths(path: String, folder: String, name: String) {
        let parts = FilePath(path)
        #expect(parts.folder == folder && parts.name == name)
    }

    @Test("error texts begin in lower case, and an unknown number has one too")
    func errors() {
        #expect(SystemError.text(ENOENT) == "no such file or directory")
        #expect(SystemError.text(EIO) == "input/output error")
        #expect(!SystemError.text(99_999).isEmpty)
        #expect(SystemError.text(ofLookup: EAI_NONAME) == "name or service not known")
    }

    @Test("a file up to the limit is read, one a byte longer is too large")
    func fileLimit() async throws {
        try await withTemporaryFolder { folder in
            try folder.write("file", "0123456789")
            #expect(try readFile(folder.path("file"), limit: 10).bytes == Array("0123456789".utf8))
            let error = #expect(throws: FileReadError.self) { try readFile(folder.path("file"), limit: 9) }
            #expect(error?.isTooLarge == true)
        }
    }

    @Test("the clock of ages and the processor time go forward")
    func clocks() {
        let (before, spent) = (SystemClock.now(), SystemClock.threadTime())
        #expect(SystemClock.now().instant >= before.instant && SystemClock.threadTime() >= spent)
    }
}
