import Foundation

/// A folder of one test's own, short enough in its path for a Unix socket. Made by `withTemporaryFolder`, which removes it.
public struct TemporaryFolder: Sendable {
    /// Absolute, without a slash at the end.
    public let path: String

    /// The absolute path of `name` in the folder.
    public func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file, making the folders on its way; returns its absolute path.
    @discardableResult
    public func write(_ name: String, _ bytes: some Sequence<UInt8>, mode: UInt16 = 0o644) throws -> String {
        let file = path(name)
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        try FileManager.default.setAttributes([.posixPermissions: NSNumber(value: mode)], ofItemAtPath: file)
        return file
    }

    /// Writes a text file; returns its absolute path.
    @discardableResult
    public func write(_ name: String, _ text: String, mode: UInt16 = 0o644) throws -> String {
        try write(name, Array(text.utf8), mode: mode)
    }

    /// Whether something lies at `name`, a dangling link included.
    public func contains(_ name: String) -> Bool {
        var status = stat()
        return lstat(path(name), &status) == 0
    }
}

extension TemporaryFolder {
    /// The permission bits of `name`, links not followed; `nil` when nothing is there.
    public func mode(of name: String) -> UInt16? {
        var status = stat()
        return lstat(path(name), &status) == 0 ? UInt16(status.st_mode & 0o777) : nil
    }
}

/// Runs `body` with a new temporary folder and removes the folder afterwards, whatever happens.
public func withTemporaryFolder<Result>(_ body: (TemporaryFolder) async throws -> Result) async throws -> Result {
    var template = Array("/tmp/exporter-proxy-test.XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    let folder = TemporaryFolder(path: String(cString: made))
    defer { try? FileManager.default.removeItem(atPath: folder.path) }
    return try await body(folder)
}
