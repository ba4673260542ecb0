import Proxy

/// A piece of what runs that a reload can change. `Daemon` runs a list of them.
///
/// A start and a reload prepare the parts in the order of the list. When all have succeeded they are committed in reverse order: the
/// listeners come first in the list, so they accept connections only when everything behind them follows the new configuration. A failure
/// abandons what was prepared. A stop ends the parts in the order of the list.
protocol Part: Sendable {
    /// Does everything that can fail. What runs does not change yet.
    /// - Parameter plan: the way from the configuration that runs to the new one.
    /// - Throws: every problem found; this part has then abandoned what it had prepared.
    func prepare(_ new: PreparedConfig, _ plan: ReloadPlan) async throws(ConfigProblems) -> PreparedPart

    /// Ends for good. No reload runs meanwhile, and none follows.
    /// - Parameter time: for what is in flight.
    /// - Returns: how many connections were cut.
    func stop(within time: Duration) async -> Int
}

extension Part {
    func stop(within time: Duration) async -> Int { 0 }
}

/// What a part is about to change. One of the two functions is called, once.
struct PreparedPart: Sendable {
    /// Puts the change in force. Cannot fail, and does not wait.
    let commit: @Sendable () -> Void
    /// Gives up the change.
    let abandon: @Sendable () async -> Void

    init(commit: @escaping @Sendable () -> Void, abandon: @escaping @Sendable () async -> Void = {}) {
        self.commit = commit
        self.abandon = abandon
    }
}
