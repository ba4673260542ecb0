import Exposition
import Glibc
import NIOCore
import NIOPosix
public import Proxy
import TLS

/// Reads all of the input, sends it, and waits until the receiver has applied it.
/// - Throws: before anything is sent when the input or the TLS files are at fault; otherwise nothing of the message was applied, or,
///   after a timeout or a cut connection, that is not known.
public func push(_ job: PushJob) async throws(PushFailure) {
    // Writing to a closed connection must fail with an error, not end the process.
    signal(SIGPIPE, SIG_IGN)
    let tls = try PushTLS(job)
    let user = try job.user()
    let metrics = try PushInput(file: job.file).read()
    let encoder: PushEncoder
    do throws(PushEncoder.InvalidMetrics) {
        switch job.address {
        case .unix, .tcp, .tls: encoder = try PushEncoder(app: job.app, metrics: metrics, format: job.format)
        case .http, .https: encoder = try PushEncoder(app: job.app, metrics: metrics, host: job.address.authority, user: user)
        }
    } catch {
        throw PushFailure("\(job.file ?? "standard input"): \(error)")
    }
    if !job.sendsUnchecked, metrics.withUnsafeReadableBytes({ Validator().firstError(in: $0) }) != nil {
        throw PushFailure(
            "not sent: Prometheus would not read these metrics; --no-check sends them nevertheless",
            findings: Lint(metrics, name: job.file ?? "stdin").lines)
    }

    let eventLoop = pushing.next()
    let ended = eventLoop.makePromise(of: Result<Void, PushFailure>.self)
    eventLoop.execute {
        PushClient(encoder, to: job.address, tls: tls, timeout: job.timeout, retryTime: job.retryTime, on: eventLoop) { ended.succeed($0) }
            .start()
    }
    let result = (try? await ended.futureResult.get()) ?? .failure(PushFailure("\(job.address): stopped"))
    try result.get()
}

/// The thread of all pushes of the process. It runs until the process ends: to end it, NIO would need another thread.
private let pushing = MultiThreadedEventLoopGroup(numberOfThreads: 1)

/// One use of the `push` command: what goes where.
public struct PushJob: Sendable {
    /// The app that the metrics belong to.
    public var app: AppName
    /// The format that the receiver takes.
    public var format: PushFormat
    /// The receiver.
    public var address: PushAddress
    /// Holds the metrics; `nil` is standard input.
    public var file: String?
    /// Used for addresses with TLS only.
    public var tls: PushTLSOptions
    /// The user for an HTTP receiver, and the file that holds its password.
    public var credentials: (user: String, passwordFile: String)?
    /// The limit for connecting, sending and the receiver's answer together. Reading the input does not count.
    public var timeout: Duration
    /// How long to try again while nothing listens at the address.
    public var retryTime: Duration
    /// Whether to send metrics that Prometheus would not read.
    public var sendsUnchecked: Bool

    /// A push with the arguments of the command line.
    public init(
        app: AppName, format: PushFormat, address: PushAddress, file: String?, tls: PushTLSOptions = PushTLSOptions(),
        credentials: (user: String, passwordFile: String)? = nil, timeout: Duration, retryTime: Duration = .zero,
        sendsUnchecked: Bool = false
    ) {
        self.app = app
        self.format = format
        self.address = address
        self.file = file
        self.tls = tls
        self.credentials = credentials
        self.timeout = timeout
        self.retryTime = retryTime
        self.sendsUnchecked = sendsUnchecked
    }
}

extension PushJob {
    /// The user and the password that its file holds; a final line break does not count.
    fileprivate func user() throws(PushFailure) -> (name: String, password: [UInt8])? {
        guard let credentials else { return nil }
        do throws(FileReadError) {
            let file = try readFile(credentials.passwordFile, limit: ConfigLoader.maxFileSize)
            return (credentials.user, file.bytes.withoutFinalLineBreak)
        } catch {
            throw PushFailure("cannot read \(credentials.passwordFile): \(error)")
        }
    }
}

extension PushAddress {
    /// The value of `Host`.
    fileprivate var authority: String { description.firstRange(of: "://").map { String(description[$0.upperBound...]) } ?? "localhost" }
}

/// The options of the `push` command for `tls://` and `https://` addresses; files by their paths.
public struct PushTLSOptions: Sendable {
    /// PEM: the authorities to trust; `nil` means the system's.
    public var caFile: String?
    /// PEM: a client certificate with its intermediates; given together with `keyFile` or not at all.
    public var certFile: String?
    /// PEM: the client certificate's private key.
    public var keyFile: String?
    /// The name to send and to verify in place of the address's host.
    public var serverName: String?

    /// Options as the command line gives them.
    public init(caFile: String? = nil, certFile: String? = nil, keyFile: String? = nil, serverName: String? = nil) {
        self.caFile = caFile
        self.certFile = certFile
        self.keyFile = keyFile
        self.serverName = serverName
    }
}

/// Why a push failed: one line for the command's error output, in lower case, without a final period.
public struct PushFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// One line.
    public let description: String
    /// If the metrics were not sent because they are invalid, the lines of `Lint`.
    public let findings: [String]

    init(_ description: String, findings: [String] = []) {
        self.description = description
        self.findings = findings
    }
}

/// The input of `push` and `lint`: a file, a pipe, or standard input.
struct PushInput {
    /// No receiver takes a larger message (`max_message_size`).
    static let maxSize = 1 << 30
    private static let readSize = 64 << 10

    /// `nil` is standard input.
    let file: String?

    /// All of it. Blocks until the writer has ended.
    func read() throws(PushFailure) -> ByteBuffer {
        guard let file else { return try read(STDIN_FILENO, name: "standard input") }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw PushFailure("cannot read \(file): \(SystemError.text(errno))") }
        defer { close(descriptor) }
        return try read(descriptor, name: file)
    }

    /// Reads up to the end, and waits for more if there is none yet.
    func read(_ descriptor: CInt, name: String) throws(PushFailure) -> ByteBuffer {
        var buffer = ByteBuffer()
        while true {
            var failure: CInt = 0
            let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: PushInput.readSize) { space in
                let count = Glibc.read(descriptor, space.baseAddress, space.count)
                if count < 0 { failure = errno }
                return max(0, count)
            }
            guard buffer.readableBytes <= PushInput.maxSize else {
                throw PushFailure("\(name) is larger than \(PushInput.maxSize) bytes, which no receiver takes")
            }
            switch failure {
            case 0 where count == 0: return buffer
            case 0, EINTR: continue
            case EAGAIN:
                // Another process that shares the descriptor has made it non-blocking.
                var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                poll(&ready, 1, -1)
            default: throw PushFailure("cannot read \(name): \(SystemError.text(failure))")
            }
        }
    }
}

/// The TLS of a push. Its files are read.
struct PushTLS: Sendable {
    let context: TLSContext
    /// The name to send and to verify.
    let serverName: String

    /// - Returns: `nil` when the address has no TLS.
    init?(_ job: PushJob) throws(PushFailure) {
        let host: String
        switch job.address {
        case .tls(let name, _), .https(let name, _): host = name
        case .unix, .tcp, .http: return nil
        }
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
            case .privateKeyNeedsPassword:
                throw PushFailure("\(config.keyFile ?? ""): \(error): push takes only a key without a password")
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

/// The findings in one file of metrics: `lint` prints them, and `push` if it does not send the file.
public struct Lint: Sendable {
    /// `FILE:LINE:COLUMN: error: MESSAGE` for each finding that is kept, and the number of the others.
    public let lines: [String]
    /// Whether Prometheus reads the file.
    public let isValid: Bool

    /// Reads and checks a file, or standard input. Blocks until all of it is there.
    /// - Parameter file: `nil` is standard input, which is called `stdin`.
    /// - Throws: when it cannot be read.
    public init(file: String?) throws(PushFailure) {
        let metrics = try PushInput(file: file).read()
        self.init(metrics, name: file ?? "stdin")
    }

    /// Checks text that was read from `name`.
    init(_ metrics: ByteBuffer, name: String) {
        let survey = metrics.withUnsafeReadableBytes { Survey(of: $0) }
        let kept = survey.findings.kept
        var lines = kept.map { "\(name):\($0.line):\($0.column): \($0.severity.rawValue): \($0.message)" }
        if survey.findings.count > kept.count { lines.append("\(name): \(survey.findings.count - kept.count) more findings are not shown") }
        self.lines = lines
        self.isValid = survey.findings.isValid
    }
}
