import NIOCore
import Testing

@testable import Proxy

@Suite("Saved apps")
struct SavedAppsTests {
    private static let now = SavedApps.Writing(
        moment: Moment(time: Timestamp(nanoseconds: 1_700_000_000_000_000_000), instant: Instant(nanoseconds: 50_000_000_000)), boot: "one")

    private func app(
        _ name: String, _ text: String, age: Duration = .zero, state: AppEntry.State = .ok, isWithheld: Bool = false
    ) throws -> AppEntry {
        let time = Timestamp(nanoseconds: Self.now.moment.time.nanoseconds - age.wholeNanoseconds)
        let instant = Instant(nanoseconds: Self.now.moment.instant.nanoseconds - age.wholeNanoseconds)
        var app = AppEntry(
            name: try #require(AppName(name)), source: .push(listener: "127.0.0.1:6554"), lastUpdate: Moment(time: time, instant: instant),
            exposition: Exposition(addingNewlineTo: ByteBuffer(string: text)), state: state)
        app.isWithheld = isWithheld
        return app
    }

    private func bytes(_ apps: [AppEntry]) -> [UInt8] {
        var bytes: [UInt8] = []
        SavedApps.write(apps, at: Self.now) { (piece: UnsafeRawBufferPointer) throws(Never) in bytes += piece }
        return bytes
    }

    /// Reads in pieces of a size.
    private func read(
        _ bytes: [UInt8], pieces: Int = 1 << 20, at now: SavedApps.Writing = now
    ) throws -> (apps: [AppEntry], reader: SavedApps.Reader) {
        var check = SavedApps.Check(size: bytes.count)
        var reader = SavedApps.Reader(size: bytes.count, at: now)
        var apps: [AppEntry] = []
        let blocks = stride(from: 0, to: bytes.count, by: pieces).map { bytes[$0..<min($0 + pieces, bytes.count)] }
        for block in blocks { block.withUnsafeBytes { check.take($0) } }
        try check.finish()
        for block in blocks {
            block.withUnsafeBytes { reader.take($0) }
            while let app = try reader.next() { apps.append(app) }
        }
        try reader.finish()
        return (apps, reader)
    }

    private func fault(_ bytes: [UInt8]) -> SavedApps.Fault? {
        do {
            _ = try read(bytes)
            return nil
        } catch {
            return error as? SavedApps.Fault
        }
    }

    @Test("what is written is read, in pieces of any size", arguments: [1, 7, 4096, 1 << 20])
    func roundTrip(pieces: Int) throws {
        let long = String(repeating: "metric_of_some_length{label=\"value\"} 1\n", count: 3000)
        let apps = try [
            app("new", "x 1\n"), app("é/ü", long, age: .seconds(1)), app("empty", "", age: .seconds(2)),
            app("expired", "", age: .seconds(3), state: .expired(error: nil)), app("withheld", "", age: .seconds(4), isWithheld: true),
        ]
        let (read, reader) = try read(bytes(apps), pieces: pieces)
        #expect(read.map(\.name) == apps.map(\.name))
        #expect(read.map(\.source) == apps.map(\.source))
        #expect(read.map(\.lastUpdate) == apps.map(\.lastUpdate))
        #expect(read.map(\.state) == apps.map(\.state))
        #expect(read.map(\.isWithheld) == apps.map(\.isWithheld))
        #expect(read.map(\.exposition.buffer) == apps.map(\.exposition.buffer))
        #expect(reader.writing == Self.now)
    }

    @Test("a group of the Pushgateway's API stays one, with its metrics as they were sent")
    func groups() throws {
        var plain = try app("job/a", "x 1\n")
        plain.group = PushedGroup(unlabelled: nil)
        var labelled = try app("job/b", "x{app=\"job/b\"} 1\n")
        labelled.group = PushedGroup(unlabelled: ByteBuffer(string: "x 1\n"))
        let read = try read(bytes([plain, labelled, app("c", "x 1\n")])).apps
        #expect(read.map { $0.group != nil } == [true, true, false])
        #expect(read.map { $0.group?.unlabelled } == [nil, ByteBuffer(string: "x 1\n"), nil])
    }

    @Test("no apps are a file, too")
    func none() throws {
        #expect(try read(bytes([])).apps.isEmpty)
    }

    @Test("pushed apps are selected, the last updated first; polled ones are not")
    func selection() throws {
        var polled = try app("polled", "x 1")
        polled.target = TargetURL(origin: .http(host: "a", port: 1), pathAndQuery: "/")
        let apps = try [app("old", "x 1", age: .seconds(9)), polled, app("new", "x 1"), app("middle", "x 1", age: .seconds(5))]
        #expect(SavedApps.selection(of: apps).map(\.name.description) == ["new", "middle", "old"])
    }

    @Test("on another boot an app is as old as it was, and older by what the wall clock says has passed, if it went forward")
    func otherBoot() throws {
        let file = bytes([try app("a", "x 1", age: .seconds(20))])
        func instant(boot: String, after: Duration, uptime: Duration) throws -> Int64? {
            let time = Timestamp(nanoseconds: Self.now.moment.time.nanoseconds + after.wholeNanoseconds)
            let now = SavedApps.Writing(
                moment: Moment(time: time, instant: Instant(nanoseconds: uptime.wholeNanoseconds)), boot: boot)
            return try read(file, at: now).apps.first?.lastUpdate.map { $0.instant.nanoseconds / 1_000_000_000 }
        }
        #expect(try instant(boot: "two", after: .seconds(100), uptime: .seconds(10)) == 10 - 120)
        #expect(try instant(boot: "two", after: .seconds(-100), uptime: .seconds(10)) == 10 - 20)
        // On the same boot the wall clock does not count.
        #expect(try instant(boot: "one", after: .seconds(5000), uptime: .seconds(60)) == 30)
        #expect(try instant(boot: "one", after: .zero, uptime: .seconds(7)) == 7)
    }

    @Test("where the boot cannot be known, every start is one of another boot")
    func unknownBoot() {
        let written = SavedApps.Writing(moment: Self.now.moment, boot: "")
        let time = Timestamp(nanoseconds: Self.now.moment.time.nanoseconds + 100_000_000_000)
        let now = SavedApps.Writing(moment: Moment(time: time, instant: Instant(nanoseconds: 60_000_000_000)), boot: "")
        #expect(written.instant(Self.now.moment.instant, seenAt: now).nanoseconds == -40_000_000_000)
    }

    @Test("any flipped bit, any missing and any additional byte is noticed")
    func damage() throws {
        let file = bytes(try [app("a", "x 1"), app("b", "y 1")])
        for index in file.indices {
            var damaged = file
            damaged[index] ^= 1 << UInt8(index % 8)
            #expect(fault(damaged) != nil, "byte \(index)")
            #expect(fault(Array(file[..<index])) != nil, "\(index) bytes")
        }
        #expect(fault(file + [0]) != nil)
        #expect(fault([]) == .empty)
        #expect(fault(Array("something else altogether".utf8)) == .foreign)
        #expect(fault(Array("exporter-proxy".utf8)) == .damaged("it ends too early"))
        var newer = file
        newer[SavedApps.magic.count] = 2
        #expect(fault(newer) == .unknownVersion(2))
    }

    @Test("a file with a right checksum and impossible contents is damaged, whatever it announces")
    func impossible() throws {
        /// A file of one app whose head says this.
        func file(_ change: (inout [UInt8]) -> Void) throws -> [UInt8] {
            var bytes = bytes([try app("a", "x 1")])
            bytes.removeLast(SavedApps.checksumSize)
            change(&bytes)
            return bytes
        }
        let head = SavedApps.magic.count + 4 + 16 + 1 + 3 + 4
        for (offset, value) in [(1, UInt8(9)), (2, 7), (10, 0xFF), (12, 0xFF), (3, 0), (SavedApps.appHeadSize, 0x07), (0, 3)] {
            let damaged = try file { $0[head + offset] = value }
            var reader = SavedApps.Reader(size: damaged.count + SavedApps.checksumSize, at: Self.now)
            damaged.withUnsafeBytes { reader.take($0) }
            #expect(throws: SavedApps.Fault.self, "byte \(offset)") {
                while try reader.next() != nil {}
                try reader.finish()
            }
        }
    }
}
