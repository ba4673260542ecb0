import HTTP
import NIOCore
import Proxy
import Synchronization

/// The responses of all connections that their readers have not taken at once. Counts the memory that they hold beyond the store, and cuts
/// the slowest readers when that is more than `max_held_size`.
final class SlowReaders: Sendable {
    /// One response, until its reader has taken it. Its methods may be called from any thread.
    final class Answer: Sendable {
        fileprivate struct Held {
            /// The memory of each piece that was not taken at once, and its lease if it is shared.
            let pieces: [(bytes: Int, lease: PieceLease?)]
            /// The index of the first of them in the response.
            let first: Int
            /// How many of them are released.
            var released = 0
            let isEncrypted: Bool
            /// Encrypted bytes that wait in the channel.
            var encrypted = 0
            /// Bytes that the reader has taken.
            var takenBytes = 0
            var isCut = false

            /// The reader has taken more, or the channel has been given more.
            /// - Returns: by how many bytes the count of what is held changes.
            mutating func proceed(to response: OutgoingResponse) -> Int {
                takenBytes = response.takenBytes
                let before = encrypted
                encrypted = isEncrypted ? response.inChannel : 0
                return release(upTo: response.taken - first) + encrypted - before
            }

            /// The pieces before this one are no longer held.
            /// - Returns: by how many bytes the count of what is held changes.
            mutating func release(upTo end: Int) -> Int {
                var change = 0
                while released < end {
                    change += pieces[released].lease?.release() ?? -pieces[released].bytes
                    released += 1
                }
                return change
            }

            /// The bytes that are freed when this connection is closed, if no other connection holds the same pieces.
            var bytes: Int { pieces[released...].reduce(encrypted) { $0 + ($1.lease?.isRetired ?? true ? $1.bytes : 0) } }
        }

        fileprivate let held: Mutex<Held>
        fileprivate let start: NIODeadline
        fileprivate let cut: @Sendable () -> Void

        fileprivate init(_ held: Held, at start: NIODeadline, cut: @escaping @Sendable () -> Void) {
            self.held = Mutex(held)
            self.start = start
            self.cut = cut
        }

        /// The reader's speed in bytes a second, and the memory that the response holds. Nothing can be said of a new one: it counts as the
        /// fastest, so that readers that take nothing do not keep others out.
        fileprivate func state(at now: NIODeadline) -> (speed: Double, bytes: Int) {
            let time = now - start
            return held.withLock { held in
                (time < SlowReaders.trial ? .infinity : Double(held.takenBytes) / (Double(time.nanoseconds) / 1e9), held.bytes)
            }
        }
    }

    private struct State {
        var answers: [ObjectIdentifier: Answer] = [:]
        /// How many of them are being cut.
        var cutting = 0
    }

    /// Readers that hold less are cut only when cutting the others is not enough: each of them frees little.
    private static let smallSize = 64 << 10
    /// How long a new reader counts as the fastest.
    static let trial = TimeAmount.seconds(1)

    private let budget: ByteBudget
    private let clock: @Sendable () -> NIODeadline
    /// Guards the responses.
    private let state = Mutex(State())

    /// - Parameter budget: counts the bytes, and has their limit.
    init(budget: ByteBudget, clock: @escaping @Sendable () -> NIODeadline = NIODeadline.now) {
        self.budget = budget
        self.clock = clock
    }

    /// A response was not taken at once.
    /// - Parameters:
    ///   - isEncrypted: whether the channel holds an encrypted copy of the bytes that it was given.
    ///   - cut: ends its connection; called on the event loop.
    func add(_ response: OutgoingResponse, isEncrypted: Bool, on eventLoop: any EventLoop, cut: @escaping @Sendable () -> Void) -> Answer {
        var held = Answer.Held(pieces: response.held, first: response.taken, isEncrypted: isEncrypted)
        let encrypted = held.proceed(to: response)
        count(held.pieces.reduce(encrypted) { $0 + ($1.lease?.hold(bytes: $1.bytes) ?? $1.bytes) })
        let answer = Answer(held, at: clock()) { eventLoop.execute(cut) }
        state.withLock { $0.answers[ObjectIdentifier(answer)] = answer }
        enforce()
        return answer
    }

    /// The reader has taken more of it, or the channel has been given more.
    func proceed(_ answer: Answer, to response: OutgoingResponse) {
        count(answer.held.withLock { $0.proceed(to: response) })
        enforce()
    }

    /// The response has been taken, or its connection has ended.
    func remove(_ answer: Answer) {
        let released = answer.held.withLock { held in held.release(upTo: held.pieces.count) - held.encrypted }
        state.withLock { state in
            state.answers[ObjectIdentifier(answer)] = nil
            if answer.held.withLock(\.isCut) { state.cutting -= 1 }
        }
        count(released)
        enforce()
    }

    private func count(_ bytes: Int) {
        if bytes > 0 { budget.add(bytes) } else { budget.release(-bytes) }
    }

    /// Cuts the slowest readers until they hold enough to get below the limit. A shared piece is freed only with its last reader, so
    /// another round follows when all cut connections have ended and there is still too much.
    func enforce() {
        guard budget.used > budget.limit.bytes else { return }
        let now = clock()
        let slowest = state.withLock { state -> [Answer] in
            var excess = budget.used - budget.limit.bytes
            guard state.cutting == 0, excess > 0 else { return [] }
            var slowest: [Answer] = []
            let readers = state.answers.values.map { ($0, $0.state(at: now)) }.filter { $0.1.bytes > 0 }
            func isBefore(_ a: (speed: Double, bytes: Int), _ b: (speed: Double, bytes: Int)) -> Bool {
                let (isSmallA, isSmallB) = (a.bytes < Self.smallSize, b.bytes < Self.smallSize)
                return isSmallA == isSmallB ? a.speed < b.speed : isSmallB
            }
            for (answer, reader) in readers.sorted(by: { isBefore($0.1, $1.1) }) where excess > 0 {
                answer.held.withLock { $0.isCut = true }
                slowest.append(answer)
                excess -= reader.bytes
            }
            state.cutting = slowest.count
            return slowest
        }
        for answer in slowest { answer.cut() }
    }
}
