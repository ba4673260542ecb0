/// What the store may hold.
public struct StoreLimits: Equatable, Sendable {
    /// Apps, pushed and polled together.
    public var maxApps: Int
    /// Bytes of all expositions.
    public var maxTotalSize: ByteCount
    /// A pushed app not updated for this long expires; `nil` means never. That of a polled app is its target's.
    public var expireAfter: Duration?

    /// Limits; the defaults are those of the configuration.
    public init(maxApps: Int = 100_000, maxTotalSize: ByteCount = .gibibytes(1), expireAfter: Duration? = nil) {
        self.maxApps = maxApps
        self.maxTotalSize = maxTotalSize
        self.expireAfter = expireAfter
    }
}
