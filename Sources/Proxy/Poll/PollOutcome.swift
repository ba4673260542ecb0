/// How one poll ended.
public enum PollOutcome: Sendable {
    /// A complete 200, valid UTF-8 without NUL, within timeout and limit.
    case success(Exposition)
    /// Why not, for the log and `/apps`; holds no secret.
    case failure(reason: String)
}

/// Whether a target answers. Reports changes only, so that a target that fails for a day is one line in the log and not thousands.
public struct PollHealth: Equatable, Sendable {
    /// What one more outcome means.
    public enum Change: Equatable, Sendable {
        /// It answered, or had never been polled, and now fails.
        case becameFailing(reason: String)
        /// It still fails, but for another reason: no change of state.
        case failsDifferently(reason: String)
        /// It failed and now answers.
        case recovered
    }

    private enum State: Equatable {
        case unknown
        case ok
        case failing(reason: String)
    }

    private var state = State.unknown

    /// A target not polled yet.
    public init() {}

    /// Takes the next outcome.
    /// - Returns: `nil` when it is as before; the first success of a target is no change either.
    public mutating func update(_ outcome: PollOutcome) -> Change? {
        switch (state, outcome) {
        case (.ok, .success):
            return nil
        case (.unknown, .success):
            state = .ok
            return nil
        case (.failing, .success):
            state = .ok
            return .recovered
        case (.failing(let before), .failure(let reason)):
            guard before != reason else { return nil }
            state = .failing(reason: reason)
            return .failsDifferently(reason: reason)
        case (.unknown, .failure(let reason)), (.ok, .failure(let reason)):
            state = .failing(reason: reason)
            return .becameFailing(reason: reason)
        }
    }
}
