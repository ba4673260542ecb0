/// The values of the file, before the rules that concern several of them.
struct ConfigDraft: Sendable {
    var exporter = ExporterDraft()
    var receiver = ReceiverDraft()
    var metrics = MetricsDraft()
    var poll = PollDraft()

    /// Makes the configuration, and adds a problem for each broken rule.
    func config(with reader: inout ConfigReader) -> Config {
        let receiver = self.receiver.config(with: &reader)
        let exporter = self.exporter.config(beside: receiver, with: &reader)
        let metrics = self.metrics.config(with: &reader)
        let poll = self.poll.config(
            scrapeAddresses: self.exporter.validScrapeAddresses(with: reader), metrics: self.metrics, with: &reader)
        return Config(exporter: exporter, receiver: receiver, metrics: metrics, poll: poll)
    }
}

/// The values of `tls`.
enum TLSMode: String, CaseIterable, Sendable {
    case off
    case required
    case optional
}

/// The table `[metrics]`.
struct MetricsDraft: Sendable {
    var validate = MetricsValidation.report
    /// Empty means none.
    var appLabel = ""

    func config(with reader: inout ConfigReader) -> MetricsConfig {
        var config = MetricsConfig()
        config.validate = validate
        guard !appLabel.isEmpty else { return config }
        if validate == .off {
            reader.refuse("metrics.app_label", MetricsDraft.labelsNeedChecks("metrics.app_label"))
            return config
        }
        config.appLabel = appLabel
        return config
    }

    /// Why `key` cannot be used with `validate = "off"`.
    static func labelsNeedChecks(_ key: String) -> String {
        "\(key) needs metrics.validate = \"report\" or \"refuse\": labels cannot be set on metrics that are not checked"
    }
}
