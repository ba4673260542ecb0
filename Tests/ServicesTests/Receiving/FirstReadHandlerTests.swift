import NIOCore
import TestSupport
import Testing

@testable import Proxy
@testable import Services

/// Everything has come before the receiver accepts: then the connection is looked at before it has a pipeline.
@Suite("FirstReadHandler")
struct FirstReadHandlerTests {
    /// What a receiver that starts only after `texts` have been sent, each on a connection of its own, answers to them.
    private func answers(
        to texts: [String], settings: ReceiverSettings = .patient, endsSending: Bool = true, limits: StoreLimits = StoreLimits(),
        onUnixSocket: Bool = false, after: (TestReceiver, [PeerConnection]) async throws -> Void = { _, _ in }
    ) async throws -> (answers: [String], stored: String) {
        var result: (answers: [String], stored: String) = ([], "")
        try await withReceiver(settings, onUnixSocket: onUnixSocket, limits: limits, starts: false) { receiver in
            var connections: [PeerConnection] = []
            for text in texts {
                let connection = try await receiver.connect()
                try await connection.send(text)
                if endsSending { try await connection.endSending() }
                connections.append(connection)
            }
            receiver.receiver.start()
            try await after(receiver, connections)
            if !endsSending { for connection in connections { try await connection.endSending() } }
            for connection in connections {
                result.answers.append(try await connection.untilEnd())
                await connection.close()
            }
            result.stored = receiver.text
            // Taken at the door or not, each connection is gone.
            try await wait(for: "the last connection's end") { receiver.receiver.listener.openConnections == 0 }
        }
        return result
    }

    @Test("a push that came whole is applied, and the connection's end says so", arguments: [false, true])
    func whole(onUnixSocket: Bool) async throws {
        let result = try await answers(to: [#"{"a": "a 1"}"#, #" {"b": ["b 1", "b 2"], "c": ""}\#n"#], onUnixSocket: onUnixSocket)
        #expect(result.answers == ["", ""])
        #expect(result.stored == "a 1\nb 1\nb 2\n")
    }

    @Test("it counts as any other")
    func counted() async throws {
        _ = try await answers(to: [#"{"a": "a 1"}"#, #"{"a": "a 1"}"#]) { receiver, connections in
            for connection in connections { try await connection.untilEnd() }
            #expect(receiver.received == 2)
            #expect(receiver.log.all.isEmpty)
            let entry = try #require(receiver.store.snapshot(at: SystemClock.now()).entries.first)
            #expect(entry.source == .push(listener: receiver.receiver.listener.name))
        }
    }

    @Test("what is more than one push, or less, goes on as if nothing had been read of it")
    func notOne() async throws {
        let result = try await answers(to: [#"{"a": "a 1"} {"b": "b 1"}"#, #"{"c": "c 1"} {"d": "#, #"{"e": "#, "", " "])
        #expect(result.answers[0] == "")
        #expect(result.answers[1] == "error: \(Rejection.truncated.line)\n" && result.answers[2] == result.answers[1])
        #expect(result.answers[3] == "" && result.answers[4] == "")
        #expect(result.stored == "a 1\nb 1\nc 1\n")
    }

    @Test(
        "a push of about as much as is read at once, or more",
        arguments: [FirstReadHandler.readSize - 1, FirstReadHandler.readSize, FirstReadHandler.readSize + 1, 2 * FirstReadHandler.readSize])
    func large(size: Int) async throws {
        let metrics = String(repeating: "x", count: size - #"{"a":""}"#.utf8.count)
        let result = try await answers(to: [#"{"a":"\#(metrics)"}"#, #"{"b": "b 1"}"#])
        #expect(result.answers == ["", ""])
        #expect(result.stored == metrics + "\nb 1\n")
    }

    @Test("a sender that goes on is listened to")
    func stream() async throws {
        let result = try await answers(to: [#"{"a": "a 1"}"#], endsSending: false) { receiver, connections in
            try await wait(for: "the first push") { receiver.text == "a 1\n" }
            #expect(!connections[0].hasEnded)
            try await connections[0].send(#"{"a": "a 2"} {"b": "b 1"}"#)
            try await wait(for: "the others") { receiver.text == "a 2\nb 1\n" }
        }
        #expect(result.answers == [""])
    }

    @Test("a refusal has its line and is counted once")
    func refused() async throws {
        let pushes = ["nonsense", #"{"a": 5}"#, #"{"a": "123456789"}"#, "\u{0}\u{0}"]
        let result = try await answers(to: pushes, limits: StoreLimits(maxApps: 1, maxTotalSize: ByteCount(5))) { receiver, connections in
            for connection in connections { try await connection.untilEnd() }
            #expect(receiver.log.all.count == 4)
            #expect(receiver.received == 0)
        }
        for answer in result.answers { #expect(answer.hasPrefix("error: ") && answer.hasSuffix("\n")) }
        #expect(result.stored == "")
    }

    @Test("a sender that is gone before anybody looked has still pushed")
    func gone() async throws {
        try await withReceiver(onUnixSocket: true, starts: false) { receiver in
            let connection = try await receiver.connect()
            try await connection.send(#"{"a": "a 1"}"#)
            await connection.close()
            receiver.receiver.start()
            try await wait(for: "the push") { receiver.text == "a 1\n" }
        }
    }

    @Test("the format in force is the one that counts")
    func format() async throws {
        let result = try await answers(to: [#"{"a": "a 1"}"#], settings: .patient.with { $0.format = .capnp })
        #expect(result.answers == ["error: \(Rejection.wrongFormat(.json, expected: .capnp).line)\n"])
    }
}
