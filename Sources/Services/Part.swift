import Proxy

/// A part of the program that a reload can change. `Daemon` has a list of them.
///
/// A start and a reload prepare the parts in reverse order of the list. When all have succeeded they are committed in the same order; if a
/// part fails, those that are prepared are abandoned. A stop ends the parts in the order of the list. The listeners come first in it. So
/// they are prepared when nothing else can fail any more, because new sockets can be seen from outside, and they accept connections only
/// when all other parts follow the new configuration.
protocol Part: Sendable {
    /// Does everything that can fail. The running program does not change yet.
    /// - Parameter plan: the differences between the configuration in force and the new one.
    /// - Throws: every problem found. This part has then undone its preparations.
    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) async throws(ConfigProblems) -> PreparedPart

    /// Ends finally. No reload runs meanwhile, and none follows.
    /// - Parameter time: the longest wait for exchanges in flight.
    /// - Returns: how many connections were cut.
    func stop(within time: Duration) async -> Int
}

extension Part {
    func stop(within time: Duration) async -> Int { 0 }
}

/// The prepared change of a part. One of the two functions is called, once.
struct PreparedPart: Sendable {
    /// Puts the change in force. Cannot fail, and does not wait.
    let commit: @Sendable () -> Void
    /// Undoes the preparations.
    let abandon: @Sendable () async -> Void

    init(commit: @escaping @Sendable () -> Void, abandon: @escaping @Sendable () async -> Void = {}) {
        self.commit = commit
        self.abandon = abandon
    }
}
