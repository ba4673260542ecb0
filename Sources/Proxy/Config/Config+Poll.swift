/// The table `[poll_external]`, its general settings already merged into each target.
public struct PollConfig: Equatable, Sendable {
    /// What is polled; empty when `poll_other_scrape_endpoints` is false. URLs and names are unique.
    public var targets: [Target] = []

    /// The table with every key at its default.
    public init(targets: [Target] = []) {
        self.targets = targets
    }
}
