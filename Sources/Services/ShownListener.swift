import Proxy
import TLS

/// A listener as `/apps` shows it: what the configuration made of it, and the connections that it has at the moment.
struct ShownListener: Sendable {
    let listener: Listener
    let kind: DaemonStatus.Listener.Kind
    /// `nil` for a scrape listener.
    let format: PushFormat?
    let tls: ListenerTLS
    /// Of TLS, when it is not off.
    let context: TLSContext?

    init(_ running: RunningListener, _ config: Config, _ contexts: TLSContexts) {
        listener = running.listener
        switch running.identity {
        case .scrape: (kind, format, tls, context) = (.scrape, nil, config.exporter.tls, contexts.scrape)
        case .tcp: (kind, format, tls, context) = (.tcp, config.receiver.format, config.receiver.tls, contexts.receiver)
        case .unix: (kind, format, tls, context) = (.unix, config.receiver.format, .off, nil)
        }
    }

    /// Now.
    var status: DaemonStatus.Listener {
        DaemonStatus.Listener(
            name: listener.name, kind: kind, format: format, tls: tls.word, openConnections: listener.openConnections,
            certificateEnd: context?.certificate.flatMap { Timestamp(seconds: $0.notAfter) })
    }
}

extension Timestamp {
    /// `nil` beyond the year 2262, which is as good as never.
    fileprivate init?(seconds: Int64) {
        let (nanoseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return nil }
        self.init(nanoseconds: nanoseconds)
    }
}
