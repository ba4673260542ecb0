import Foundation

/// One file mounted over another, as containers do.
struct Mount {
    private let target: String

    init(_ source: String, on target: String) throws {
        guard Self.run("mount", ["--bind", source, target]) else { throw POSIXError(.EPERM) }
        self.target = target
    }

    func undo() {
        _ = Self.run("umount", [target])
    }

    /// Whether this process may mount; found out by trying.
    static let isPossible: Bool = {
        guard getuid() == 0, let folder = try? Folder() else { return false }
        try? folder.write("", to: "a")
        try? folder.write("", to: "b")
        guard let mount = try? Mount(folder("a"), on: folder("b")) else { return false }
        mount.undo()
        return true
    }()

    private static func run(_ program: String, _ arguments: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
