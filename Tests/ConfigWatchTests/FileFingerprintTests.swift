import Foundation
import Testing

@testable import ConfigWatch

@Suite("The content of a file")
struct FileContentsTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test("is the same read from disk and held in memory, whatever the size", arguments: [0, 1, 7, 65_535, 65_536, 65_537, 200_001])
    func sameBytes(_ count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try Data(bytes).write(to: URL(fileURLWithPath: folder("file")))
        #expect(FileFingerprint(of: folder("file"), limit: 1 << 20) == FileFingerprint(of: bytes))
    }

    @Test("is another when one byte is")
    func otherBytes() throws {
        try folder.write("listen = 1", to: "file")
        let one = FileFingerprint(of: folder("file"), limit: 100)
        try folder.write("listen = 2", to: "file")
        #expect(FileFingerprint(of: folder("file"), limit: 100) != one)
    }

    @Test("is read up to the limit, and told by status one byte above it")
    func limit() throws {
        try folder.write("12345", to: "file")
        #expect(FileFingerprint(of: folder("file"), limit: 5) == FileFingerprint(of: Array("12345".utf8)))
        guard case .large(_, size: 5, _) = FileFingerprint(of: folder("file"), limit: 4) else {
            Issue.record("was read although above the limit")
            return
        }
    }

    @Test("is bounded also where the size is not known before")
    func procfs() throws {
        guard case .bytes(_, let count) = FileFingerprint(of: "/proc/self/status", limit: 1 << 20) else {
            Issue.record("was not read")
            return
        }
        #expect(count > 0)
        guard case .large = FileFingerprint(of: "/proc/self/status", limit: 10) else {
            Issue.record("was read although above the limit")
            return
        }
    }

    @Test("is none for what is missing, a folder, a device or a FIFO, and nothing waits")
    func unreadable() throws {
        #expect(mkfifo(folder("fifo"), 0o600) == 0)
        for path in [folder("none"), folder.path, "/dev/zero", folder("fifo")] {
            #expect(FileFingerprint(of: path, limit: 100) == .unreadable)
        }
    }
}
