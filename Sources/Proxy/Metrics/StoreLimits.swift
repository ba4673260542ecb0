/// What the store may hold.
public struct StoreLimits: Equatable, Sendable {
    /// Apps, pushed and polled together.
    public var maxApps: Int
    /// Bytes of all expositions.
    public var maxTotalSize: ByteCount

    /// Limits; the defaults are those of the configuration.
    public init(maxApps: Int = 100_000, maxTotalSize: ByteCount = .gibibytes(1)) {
        self.maxApps = maxApps
        self.maxTotalSize = maxTotalSize
    }
}
