public import Proxy

/// Where pushes go, shared by all receivers: they come and go with reloads, it stays.
public struct PushIntake: Sendable {
    /// Makes the decoder of one connection; it belongs to that connection's event loop.
    public typealias MakeDecoder = @Sendable (_ format: PushFormat, _ maxMessageSize: ByteCount) -> any PushDecoder

    let store: MetricStore
    let metrics: SelfMetrics
    let inflight: ByteBudget
    let clock: @Sendable () -> Moment
    let makeDecoder: MakeDecoder

    /// Where pushes go, and what they are decoded with.
    public init(
        store: MetricStore, metrics: SelfMetrics, inflight: ByteBudget, clock: @escaping @Sendable () -> Moment,
        makeDecoder: @escaping MakeDecoder
    ) {
        self.store = store
        self.metrics = metrics
        self.inflight = inflight
        self.clock = clock
        self.makeDecoder = makeDecoder
    }
}
