import CDeflate
import NIOCore

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
        /// How many apps the file holds, as its header says.
        public private(set) var count = 0

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
            guard let moment = buffer.readMoment(), buffer.readInteger(as: UInt8.self) != nil,
                let boot = buffer.readString(length: Int(length)), let count = buffer.readInteger(endianness: .little, as: UInt32.self)
            else { throw .damaged("it ends too early") }
            writing = Writing(moment: moment, boot: boot)
            self.count = Int(count)
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
                let unlabelled = head.readSlice(length: Int(unlabelledSize)), let state = AppEntry.State(saved: state), group <= 2,
                let writing
            else { throw .damaged("an app has an impossible name or state") }
            buffer = head
            let lastUpdate = Moment(time: moment.time, instant: writing.instant(moment.instant, seenAt: now))
            var app = AppEntry(
                name: name, source: .push(listener: source), lastUpdate: lastUpdate, exposition: try Exposition(saved: metrics),
                state: state)
            // Copied, as it would keep the other bytes of the file.
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
