import Foundation

/// A temporary folder of one test, removed with it.
final class Folder: Sendable {
    let path: String

    /// - Parameter parent: where it is made.
    init(in parent: String = NSTemporaryDirectory()) throws {
        var template = Array("\(parent)/config-watch-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil, let real = realpath(template, nil) else { throw POSIXError(.EIO) }
        path = String(cString: real)
        free(real)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func callAsFunction(_ name: String) -> String { path + "/" + name }

    /// Opens, truncates, writes, closes: the inode stays.
    func write(_ text: String, to name: String) throws {
        guard let file = fopen(self(name), "w") else { throw failure() }
        defer { fclose(file) }
        fputs(text, file)
    }

    func makeFolder(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: self(name), withIntermediateDirectories: true)
    }

    func rename(_ old: String, to new: String) throws {
        guard Foundation.rename(self(old), self(new)) == 0 else { throw failure() }
    }

    func link(_ name: String, to target: String) throws {
        guard symlink(target, self(name)) == 0 else { throw failure() }
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: self(name))
    }

    func identity(of name: String) throws -> (device: dev_t, inode: ino_t) {
        var status = stat()
        guard stat(self(name), &status) == 0 else { throw failure() }
        return (status.st_dev, status.st_ino)
    }

    private func failure() -> any Error { POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
}
