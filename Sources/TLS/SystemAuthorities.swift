import COpenSSL
import Glibc
import Synchronization

/// The certificate authorities that this machine trusts, where OpenSSL looks for them: a file and a folder, which the environment variables
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace.
///
/// All are read at once when the first context needs them, and shared by all contexts, so that no handshake reads a file.
public final class SystemAuthorities: SharedSetting, Sendable {
    /// The state of the file and the folder when this object was made.
    private let found: [Place]
    // Safe to share: filled before it is stored here. Afterwards OpenSSL reads it under the lock that each store has.
    private nonisolated(unsafe) let store: OpaquePointer?
    /// Guards the first read.
    private let isRead = Mutex(false)

    private let find: @Sendable () -> [Place]

    /// Finds the file and the folder. Reads no certificate.
    public convenience init() {
        self.init {
            let file = Self.path(X509_get_default_cert_file_env(), X509_get_default_cert_file())
            // Several folders may be named.
            let folders = Self.path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()).split(separator: ":")
            return [Place(path: file, isFolder: false)] + folders.map { Place(path: String($0), isFolder: true) }
        }
    }

    /// The authorities of only one folder.
    convenience init(folder: String) {
        self.init { [Place(path: folder, isFolder: true)] }
    }

    private init(_ find: @escaping @Sendable () -> [Place]) {
        self.find = find
        found = find()
        store = X509_STORE_new()
    }

    deinit {
        X509_STORE_free(store)
    }

    /// Whether the file or the folder have changed since this object was made. Blocks.
    public var areOutOfDate: Bool { find() != found }

    /// Makes a context trust them. Reads them at the first call. Blocks.
    func install(in context: OpaquePointer?) throws(TLSSettingsError) {
        guard let store else { throw .openSSLFailed("there is no memory for the certificate authorities") }
        isRead.withLock { isRead in
            guard !isRead else { return }
            isRead = true
            for place in found { place.read(into: store) }
            // A file without certificates is not an error: the system has no authorities then, and each handshake fails with that reason.
            OpenSSLErrorQueue.clear()
        }
        SSL_CTX_set1_cert_store(context, store)
    }

    private static func path(_ variable: UnsafePointer<CChar>?, _ usual: UnsafePointer<CChar>?) -> String {
        if let variable, let value = getenv(variable) { return String(cString: value) }
        return usual.map { String(cString: $0) } ?? ""
    }
}

/// A file or a folder of authorities, and its state at one moment.
private struct Place: Equatable, Sendable {
    let path: String
    let isFolder: Bool
    private let inode: UInt64
    private let size: Int64
    private let changed: [Int]

    init(path: String, isFolder: Bool) {
        self.path = path
        self.isFolder = isFolder
        var status = stat()
        guard stat(path, &status) == 0 else {
            inode = 0
            size = -1
            changed = []
            return
        }
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        changed = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }

    func read(into store: OpaquePointer) {
        guard size >= 0 else { return }
        guard isFolder else {
            X509_STORE_load_file(store, path)
            return
        }
        for name in Self.certificates(in: path) { X509_STORE_load_file(store, "\(path)/\(name)") }
    }

    /// The file names that OpenSSL looks for: a hash of the subject and a number, such as `5ed36f99.0`.
    private static func certificates(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0].utf8.count == 8, parts[0].allSatisfy(\.isHexDigit), UInt(parts[1]) != nil else { continue }
            names.append(name)
        }
        return names
    }
}
