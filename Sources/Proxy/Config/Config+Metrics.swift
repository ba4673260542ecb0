/// The table `[metrics]`.
public struct MetricsConfig: Equatable, Sendable {
    /// Whether metrics are checked, and what happens to those that Prometheus would not read.
    public var validate = MetricsValidation.report
    /// The name of a label that every sample gets, with the app's name as its value; `nil` means none. Never set when `validate` is `off`.
    public var appLabel: String? = nil

    /// The table with every key at its default.
    public init() {}
}

/// The values of `metrics.validate`.
public enum MetricsValidation: String, Equatable, Sendable, CaseIterable {
    /// Metrics are not looked at.
    case off
    /// Metrics pass unchanged; the program says which apps are invalid.
    case report
    /// A push or a poll of invalid metrics is refused.
    case refuse
}
