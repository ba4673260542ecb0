import Proxy

/// A part of the program that a reload can change. `Daemon` has a list of them.
///
/// A start prepares the parts in the order of the list, a reload in reverse order: the listeners come first in the list, and what a reload
/// prepares of them can be seen from outside, so nothing else may fail after them. When all have succeeded they are committed, the listeners
/// last: they accept connections only when all other parts follow the new configuration. If a part fails, those that are prepared are
/// abandoned. A stop ends the parts in the order of the list.
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
