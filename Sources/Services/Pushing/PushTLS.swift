import Proxy
import TLS

/// The TLS of a push. Its files are read.
struct PushTLS: Sendable {
    let context: TLSContext
    /// The name to send and to verify.
    let serverName: String

    /// - Returns: `nil` when the address is not `tls://`.
    init?(_ job: PushJob) throws(PushFailure) {
        guard case .tls(let host, _) = job.address else { return nil }
        let config = job.tls
        serverName = config.serverName ?? host
        let settings = TLSClientSettings(
            trustRoots: try PushTLS.contents(config.caFile).map { .certificates($0) } ?? .system(SystemAuthorities()),
            certificateChain: try PushTLS.contents(config.certFile), privateKey: try PushTLS.contents(config.keyFile))
        do throws(TLSSettingsError) {
            context = try TLSContext(client: settings)
        } catch {
            let file: String?
            switch error {
            case .invalidTrustRoots: file = config.caFile
            case .invalidPrivateKey, .certificateDoesNotMatchKey: file = config.keyFile
            case .invalidCertificate: file = config.certFile
            default: file = nil
            }
            throw PushFailure((file.map { "\($0): " } ?? "") + "\(error)")
        }
    }

    private static func contents(_ file: String?) throws(PushFailure) -> [UInt8]? {
        guard let file else { return nil }
        do throws(FileReadError) {
            return try readFile(file, limit: ConfigLoader.maxFileSize).bytes
        } catch {
            throw PushFailure("cannot read \(file): \(error)")
        }
    }
}
