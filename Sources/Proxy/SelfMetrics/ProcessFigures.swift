/// What the system says of this process, at one moment.
public struct ProcessFigures: Equatable, Sendable {
    /// User and system time together.
    public var cpuNanoseconds: Int64
    /// Open file descriptors.
    public var openFiles: Int
    /// Their limit.
    public var maxFiles: Int
    /// Virtual memory.
    public var virtualBytes: Int
    /// Resident memory.
    public var residentBytes: Int
    /// When the process started.
    public var startTime: Timestamp
    /// Threads.
    public var threads: Int

    /// Figures as they were read.
    public init(
        cpuNanoseconds: Int64, openFiles: Int, maxFiles: Int, virtualBytes: Int, residentBytes: Int, startTime: Timestamp, threads: Int
    ) {
        self.cpuNanoseconds = cpuNanoseconds
        self.openFiles = openFiles
        self.maxFiles = maxFiles
        self.virtualBytes = virtualBytes
        self.residentBytes = residentBytes
        self.startTime = startTime
        self.threads = threads
    }
}
