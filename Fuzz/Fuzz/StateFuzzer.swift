import Glibc
import NIOCore
import Proxy

@testable import Services

/// Any file gives the same apps and the same fault, however it is cut, and what was read is written and read again as the same.
enum StateFuzzer {
    private static let now = SavedApps.Writing(
        moment: Moment(time: Timestamp(nanoseconds: 1_700_000_000_000_000_000), instant: Instant(nanoseconds: 1_000_000_000)),
        boot: "fuzzed")

    private struct Answer: Equatable {
        var apps: [String] = []
        var fault: SavedApps.Fault?
    }

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let stream = CutStream(input) else { return }
        // The checksum of fuzzed bytes is never right, so the reader is tried behind it.
        let (whole, apps) = read(stream.whole)
        precondition(whole == read(stream.pieces).answer)
        precondition(check(stream.whole) == check(stream.pieces))
        guard whole.fault == nil else { return }
        var written: [UInt8] = []
        SavedApps.write(apps, at: now) { (piece: UnsafeRawBufferPointer) throws(Never) in written += piece }
        precondition(check([ByteBuffer(bytes: written)]) == nil)
        precondition(read([ByteBuffer(bytes: written)]).answer == whole)
    }

    private static func check(_ pieces: [ByteBuffer]) -> SavedApps.Fault? {
        var check = SavedApps.Check(size: pieces.reduce(0) { $0 + $1.readableBytes })
        for piece in pieces { piece.withUnsafeReadableBytes { check.take($0) } }
        do throws(SavedApps.Fault) {
            try check.finish()
            return nil
        } catch {
            return error
        }
    }

    private static func read(_ pieces: [ByteBuffer]) -> (answer: Answer, apps: [AppEntry]) {
        var reader = SavedApps.Reader(size: pieces.reduce(0) { $0 + $1.readableBytes }, at: now)
        var apps: [AppEntry] = []
        var answer = Answer()
        do throws(SavedApps.Fault) {
            for piece in pieces {
                piece.withUnsafeReadableBytes { reader.take($0) }
                while let app = try reader.next() { apps.append(app) }
            }
            try reader.finish()
        } catch {
            answer.fault = error
        }
        answer.apps = apps.map { app in
            "\(app.name) \(app.source) \(app.state) \(app.lastUpdate?.time.nanoseconds ?? 0) \(app.lastUpdate?.instant.nanoseconds ?? 0) "
                + "\(String(buffer: app.exposition.buffer)) \(app.group != nil) \(app.group?.unlabelled.map { String(buffer: $0) } ?? "")"
        }
        return (answer, apps)
    }
}

/// Any environment of a service manager is taken or ignored. One line of the input is the value of one variable.
enum EnvironmentFuzzer {
    /// No descriptor is that high: none of the fuzzer's own is touched.
    private static let first: CInt = 1 << 28

    static func run(_ input: UnsafeRawBufferPointer) {
        let lines = input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        func value(_ index: Int) -> String? { index < lines.count ? lines[index] : nil }
        for process in [value(0), "\(getpid())"] {
            let inherited = InheritedSockets(process: process, count: value(1), names: value(2), first: first)
            precondition(inherited.sockets.isEmpty)
            precondition(inherited.warnings.allSatisfy { !$0.utf8.contains(UInt8(ascii: "\n")) })
        }
        if let address = value(3).flatMap({ UnixAddress(notifySocket: $0) }) {
            address.withSocketAddress { _, length in precondition((4...110).contains(length)) }
        }
        if let watchdog = WatchdogTime(microseconds: value(4), process: value(5)) { precondition(watchdog.time > .zero) }
    }
}
