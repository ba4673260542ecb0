import Proxy
import TLS

/// What a configuration asks for, opened but not yet used: dropping it needs `abandon()`.
struct PreparedReload: Sendable {
    let plan: ReloadPlan
    let loaded: LoadedConfig
    let groundwork: Groundwork
    /// The listeners to open, in the order of the configuration.
    var opened: [RunningListener] = []

    /// Of every scrape listener from now on.
    var scrapeSettings: ScrapeSettings {
        let config = loaded.config.exporter
        return ScrapeSettings(config, transport: Transport(config.tls, context: groundwork.contexts.scrape))
    }

    /// Of this receiver from now on.
    func receiverSettings(of identity: ListenerIdentity) -> ReceiverSettings {
        let config = loaded.config
        if case .unix = identity { return ReceiverSettings(config, transport: .off) }
        return ReceiverSettings(config, transport: Transport(config.receiver.tls, context: groundwork.contexts.receiver))
    }

    /// Closes what was opened; nobody has been let in.
    func abandon() async {
        for running in opened { await running.listener.drain(within: .zero) }
    }
}

extension Transport {
    /// - Parameter context: there whenever `tls` is not off.
    fileprivate init(_ tls: ListenerTLS, context: TLSContext?) {
        switch (tls, context) {
        case (.required, let context?): self = .required(context)
        case (.optional, let context?): self = .optional(context)
        default: self = .off
        }
    }
}
