public import Proxy

/// One use of the `push` command: what goes where.
public struct PushJob: Sendable {
    /// Whose metrics they are.
    public var app: AppName
    /// What the receiver takes.
    public var format: PushFormat
    /// The receiver.
    public var address: PushAddress
    /// Holds the metrics; `nil` is standard input.
    public var file: String?
    /// Of a `tls://` address; without meaning for others.
    public var tls: TLSClientConfig
    /// For connecting, sending and the receiver's last word together; reading the input does not count.
    public var timeout: Duration

    /// A push as the command line asks for it.
    public init(
        app: AppName, format: PushFormat, address: PushAddress, file: String?, tls: TLSClientConfig = TLSClientConfig(),
        timeout: Duration
    ) {
        self.app = app
        self.format = format
        self.address = address
        self.file = file
        self.tls = tls
        self.timeout = timeout
    }
}

/// Why a push failed, for the person or script that ran it: what is at fault, lower case, no final period.
public struct PushFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// One line.
    public let description: String

    init(_ description: String) { self.description = description }
}
