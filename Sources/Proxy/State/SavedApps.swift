import CDeflate
import NIOCore

/// The contents of a state file: pushed apps, the last updated first, so that a reader with smaller limits leaves out the oldest.
///
/// All numbers are little endian.
///
///     header   magic (20 bytes), version (4), wall clock and boot clock when it was written (8 + 8 bytes, nanoseconds),
///              length of the boot's identity (1), the identity, number of apps (4)
///     app      1 (1 byte), state (1), kind of group (1), lengths of name and source (2 + 2), of metrics and of unlabelled metrics (4 + 4),
///              wall clock and boot clock of the last update (8 + 8), name, source, metrics, unlabelled metrics
///     end      0 (1 byte), CRC-32 of all bytes before it (4)
public enum SavedApps {
    static let magic = Array("exporter-proxy state".utf8)
    static let version: UInt32 = 1
    static let appMark: UInt8 = 1
    static let endMark: UInt8 = 0
    static let checksumSize = 4
    /// Before the name of an app.
    static let appHeadSize = 1 + 1 + 1 + 2 + 2 + 4 + 4 + 8 + 8

    /// Why a file cannot be used.
    public enum Fault: Error, Equatable, CustomStringConvertible {
        case empty
        case foreign
        case unknownVersion(UInt32)
        /// It is not as it was written; what is wrong.
        case damaged(String)

        /// For the log.
        public var description: String {
            switch self {
            case .empty: "it is empty"
            case .foreign: "it is not a state file of exporter-proxy"
            case .unknownVersion(let version): "it has version \(version), and this program reads version \(SavedApps.version)"
            case .damaged(let what): "it is damaged: \(what)"
            }
        }
    }

    /// When a file was written.
    public struct Writing: Equatable, Sendable {
        /// On both clocks.
        public var moment: Moment
        /// Identifies the boot of the machine whose clock counted.
        public var boot: String

        /// A writing at this moment of this boot.
        public init(moment: Moment, boot: String) {
            self.moment = moment
            self.boot = boot
        }

        /// The same moment as `instant`, on the clock of now. Within one boot the instants are comparable. After a reboot, the age at the
        /// writing and the wall-clock time since then are added; a wall clock that was set back counts as no time.
        func instant(_ instant: Instant, seenAt now: Writing) -> Instant {
            // Where it cannot be read, it says nothing.
            if boot == now.boot, !boot.isEmpty { return min(instant, now.moment.instant) }
            let age = max(0, moment.instant.nanoseconds.saturatingMinus(instant.nanoseconds))
            let since = max(0, now.moment.time.nanoseconds.saturatingMinus(moment.time.nanoseconds))
            let (sum, isTooLong) = age.addingReportingOverflow(since)
            return Instant(nanoseconds: now.moment.instant.nanoseconds.saturatingMinus(isTooLong ? .max : sum))
        }
    }

    /// What is to be written of these apps, in order: those that were pushed.
    public static func selection(of apps: some Sequence<AppEntry>) -> [AppEntry] {
        apps.filter { $0.target == nil && $0.lastUpdate != nil }.sorted { $0.lastUpdateInstant > $1.lastUpdateInstant }
    }

    /// Gives the bytes of a file, piece by piece. No piece is copied but small ones, which are joined.
    /// - Parameter sink: takes each piece; what it throws ends the writing.
    public static func write<Failure: Error>(
        _ apps: [AppEntry], at writing: Writing, to sink: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        var pieces = Pieces()
        pieces.pending.writeBytes(magic)
        pieces.pending.writeInteger(version, endianness: .little)
        pieces.pending.write(writing.moment)
        let boot = writing.boot.utf8.prefix(255)
        pieces.pending.writeInteger(UInt8(boot.count))
        pieces.pending.writeBytes(boot)
        pieces.pending.writeInteger(UInt32(clamping: apps.count), endianness: .little)
        for app in apps { try pieces.append(app, to: sink) }
        pieces.pending.writeInteger(endMark)
        try pieces.flush(to: sink)
        pieces.pending.writeInteger(pieces.checksum, endianness: .little)
        try pieces.flush(to: sink)
    }

    /// Joins small pieces, and computes the checksum of all.
    private struct Pieces {
        /// Smaller metrics are copied to their neighbours.
        static let large = 64 << 10
        static let joined = 256 << 10

        var pending = ByteBuffer()
        var checksum: UInt32 = 0

        mutating func append<Failure: Error>(
            _ app: AppEntry, to sink: (UnsafeRawBufferPointer) throws(Failure) -> Void
        ) throws(Failure) {
            guard let lastUpdate = app.lastUpdate else { return }
            let source = app.source.description.utf8.prefix(Int(UInt16.max))
            pending.writeInteger(appMark)
            pending.writeInteger(app.savedState)
            let unlabelled = app.group?.unlabelled ?? ByteBuffer()
            pending.writeInteger(app.group.saved)
            pending.writeInteger(UInt16(app.name.description.utf8.count), endianness: .little)
            pending.writeInteger(UInt16(source.count), endianness: .little)
            pending.writeInteger(UInt32(app.exposition.size), endianness: .little)
            pending.writeInteger(UInt32(unlabelled.readableBytes), endianness: .little)
            pending.write(lastUpdate)
            pending.writeString(app.name.description)
            pending.writeBytes(source)
            try append(app.exposition.buffer, to: sink)
            try append(unlabelled, to: sink)
        }

        private mutating func append<Failure: Error>(
            _ bytes: ByteBuffer, to sink: (UnsafeRawBufferPointer) throws(Failure) -> Void
        ) throws(Failure) {
            if bytes.readableBytes < Self.large {
                pending.writeImmutableBuffer(bytes)
            } else {
                try flush(to: sink)
                try put(bytes, to: sink)
            }
            if pending.readableBytes >= Self.joined { try flush(to: sink) }
        }

        mutating func flush<Failure: Error>(to sink: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
            try put(pending, to: sink)
            pending.clear()
        }

        private mutating func put<Failure: Error>(
            _ bytes: ByteBuffer, to sink: (UnsafeRawBufferPointer) throws(Failure) -> Void
        ) throws(Failure) {
            var result = Result<Void, Failure>.success(())
            bytes.withUnsafeReadableBytes { bytes in
                checksum = cdeflate_crc32(checksum, bytes.assumingMemoryBound(to: UInt8.self).baseAddress, bytes.count)
                result = Result { () throws(Failure) in try sink(bytes) }
            }
            try result.get()
        }
    }
}

extension AppEntry {
    fileprivate var lastUpdateInstant: Instant { lastUpdate?.instant ?? Instant(nanoseconds: .min) }

    /// Its state as a state file has it: 2 for an app that has expired, 1 for one whose metrics were taken out, 0 for any other.
    fileprivate var savedState: UInt8 {
        if case .expired = state { return 2 }
        return isWithheld ? 1 : 0
    }
}

extension PushedGroup? {
    /// As a state file has it: 0 for no group, 1 for one that is exposed as it was sent, 2 for one whose metrics were labelled.
    fileprivate var saved: UInt8 { map { $0.unlabelled == nil ? 1 : 2 } ?? 0 }
}

extension ByteBuffer {
    fileprivate mutating func write(_ moment: Moment) {
        writeInteger(moment.time.nanoseconds, endianness: .little)
        writeInteger(moment.instant.nanoseconds, endianness: .little)
    }
}

extension Int64 {
    /// The difference; the nearest number there is when it lies beyond.
    fileprivate func saturatingMinus(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        guard overflows else { return difference }
        return self < other ? .min : .max
    }
}

extension SavedApps {
    /// Tells whether a file is whole, before anything of it is used.
    public struct Check {
        private let size: Int
        private var taken = 0
        private var beginning: [UInt8] = []
        private var checksum: UInt32 = 0
        private var end: [UInt8] = []

        /// - Parameter size: of the file, in bytes.
        public init(size: Int) { self.size = size }

        /// Takes the next bytes of the file.
        public mutating func take(_ bytes: UnsafeRawBufferPointer) {
            let beginningSize = SavedApps.magic.count + MemoryLayout<UInt32>.size
            if beginning.count < beginningSize { beginning += bytes.prefix(beginningSize - beginning.count) }
            let checked = max(0, min(bytes.count, size - SavedApps.checksumSize - taken))
            checksum = cdeflate_crc32(checksum, bytes.assumingMemoryBound(to: UInt8.self).baseAddress, checked)
            end += bytes.dropFirst(checked).prefix(SavedApps.checksumSize + 1)
            taken += bytes.count
        }

        /// - Throws: why the file cannot be used.
        public func finish() throws(Fault) {
            guard taken > 0 else { throw .empty }
            guard beginning.starts(with: SavedApps.magic) else {
                throw SavedApps.magic.starts(with: beginning) ? .damaged("it ends too early") : .foreign
            }
            let version = beginning.dropFirst(SavedApps.magic.count)
            guard version.count == MemoryLayout<UInt32>.size else { throw .damaged("it ends too early") }
            let number = version.reversed().reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            guard number == SavedApps.version else { throw .unknownVersion(number) }
            guard taken == size, end.count == SavedApps.checksumSize else { throw .damaged("it ends too early") }
            guard end.reversed().reduce(0 as UInt32, { $0 << 8 | UInt32($1) }) == checksum else {
                throw .damaged("its checksum is wrong")
            }
        }
    }

    /// Reads the apps of a file that `Check` has found whole. Bytes in, in any pieces; apps out.
    public struct Reader {
        private enum Expected {
            case header, app, checksum, nothing
        }

        /// Bytes of the file that have not been given.
        private var left: Int
        private var buffer = ByteBuffer()
        private var expected = Expected.header
        private let now: Writing
        /// When the file was written; `nil` before its header has been read.
        public private(set) var writing: Writing?

        /// - Parameters:
        ///   - size: of the file, in bytes: no part of it can be longer.
        ///   - now: whose boot clock the apps' moments are given in.
        public init(size: Int, at now: Writing) {
            left = size
            self.now = now
        }

        /// Takes the next bytes of the file.
        public mutating func take(_ bytes: UnsafeRawBufferPointer) {
            left -= bytes.count
            buffer.discardReadBytes()
            buffer.writeBytes(bytes)
        }

        /// The next app; `nil` when more bytes are needed, or the file has ended.
        public mutating func next() throws(Fault) -> AppEntry? {
            while true {
                switch expected {
                case .header:
                    guard try readHeader() else { return nil }
                    expected = .app
                case .app:
                    guard let mark = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return nil }
                    guard mark == SavedApps.endMark else {
                        guard mark == SavedApps.appMark else { throw .damaged("an app begins with \(mark)") }
                        return try readApp()
                    }
                    buffer.moveReaderIndex(forwardBy: 1)
                    expected = .checksum
                case .checksum:
                    guard buffer.readInteger(as: UInt32.self) != nil else { return nil }
                    expected = .nothing
                case .nothing:
                    guard buffer.readableBytes == 0 else { throw .damaged("more bytes follow its end") }
                    return nil
                }
            }
        }

        /// Every byte has been taken, and every app.
        /// - Throws: the file has not ended.
        public func finish() throws(Fault) {
            guard case .nothing = expected, buffer.readableBytes == 0 else { throw .damaged("it ends too early") }
        }

        private mutating func readHeader() throws(Fault) -> Bool {
            let fixed = SavedApps.magic.count + 4 + 8 + 8
            guard let length = buffer.getInteger(at: buffer.readerIndex + fixed, as: UInt8.self),
                buffer.readableBytes >= fixed + 1 + Int(length) + 4
            else { return false }
            buffer.moveReaderIndex(forwardBy: SavedApps.magic.count + 4)
            // The number of apps is for other readers.
            guard let moment = buffer.readMoment(), buffer.readInteger(as: UInt8.self) != nil,
                let boot = buffer.readString(length: Int(length)), buffer.readInteger(as: UInt32.self) != nil
            else { throw .damaged("it ends too early") }
            writing = Writing(moment: moment, boot: boot)
            return true
        }

        private mutating func readApp() throws(Fault) -> AppEntry? {
            var head = buffer
            guard head.readableBytes >= SavedApps.appHeadSize else { return nil }
            guard head.readInteger(as: UInt8.self) != nil, let state = head.readInteger(as: UInt8.self),
                let group = head.readInteger(as: UInt8.self),
                let nameLength = head.readInteger(endianness: .little, as: UInt16.self),
                let sourceLength = head.readInteger(endianness: .little, as: UInt16.self),
                let size = head.readInteger(endianness: .little, as: UInt32.self),
                let unlabelledSize = head.readInteger(endianness: .little, as: UInt32.self), let moment = head.readMoment()
            else { throw .damaged("it ends too early") }
            let total = Int(nameLength) + Int(sourceLength) + Int(size) + Int(unlabelledSize)
            guard head.readableBytes >= total else {
                guard total - head.readableBytes <= left else { throw .damaged("an app is longer than the file") }
                // All at once, so that a large app is not moved with each piece.
                if buffer.storageCapacity < total { buffer.reserveCapacity(minimumWritableBytes: total) }
                return nil
            }
            guard let name = head.readSlice(length: Int(nameLength)).flatMap({ AppName(saved: $0) }),
                let source = head.readString(length: Int(sourceLength)), let metrics = head.readSlice(length: Int(size)),
                let unlabelled = head.readSlice(length: Int(unlabelledSize)), state <= 2, group <= 2,
                let writing
            else { throw .damaged("an app has an impossible name or state") }
            buffer = head
            let lastUpdate = Moment(time: moment.time, instant: writing.instant(moment.instant, seenAt: now))
            var app = AppEntry(
                name: name, source: .push(listener: source), lastUpdate: lastUpdate, exposition: try Exposition(saved: metrics),
                state: state == 2 ? .expired(error: nil) : .ok)
            app.isWithheld = state == 1
            if group > 0 {
                app.group = PushedGroup(unlabelled: group == 1 ? nil : try Exposition(saved: unlabelled).buffer)
            }
            return app
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func readMoment() -> Moment? {
        guard let time = readInteger(endianness: .little, as: Int64.self), let instant = readInteger(endianness: .little, as: Int64.self)
        else { return nil }
        return Moment(time: Timestamp(nanoseconds: time), instant: Instant(nanoseconds: instant))
    }
}

extension AppName {
    fileprivate init?(saved bytes: ByteBuffer) {
        let name: AppName? = bytes.withUnsafeReadableBytes { bytes in
            guard bytes.isUTF8 else { return nil }
            return AppName(validUTF8: bytes.assumingMemoryBound(to: UInt8.self))
        }
        guard let name else { return nil }
        self = name
    }
}

extension Exposition {
    /// A copy that keeps no other bytes of the file.
    fileprivate init(saved bytes: ByteBuffer) throws(SavedApps.Fault) {
        var exposition: Exposition?
        bytes.withUnsafeReadableBytes { exposition = try? Exposition(copyingText: $0) }
        guard let exposition else { throw .damaged("metrics are not UTF-8, or hold a NUL byte") }
        self = exposition
    }
}
