/// How one poll ended.
public enum PollOutcome: Sendable {
    /// A complete 200, valid UTF-8 without NUL, within timeout and limit.
    case success(Exposition)
    /// Why not, for the log and `/apps`; holds no secret.
    case failure(reason: String)
}
