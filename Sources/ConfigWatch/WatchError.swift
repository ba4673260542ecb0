/// The system lacks what watching needs at the least.
public struct WatchError: Error, CustomStringConvertible, Sendable {
    private let action: String
    private let code: Int32

    init(doing action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    /// One line, lower case, without a period.
    public var description: String { "cannot watch files: cannot \(action): \(System.text(ofError: code))" }
}
