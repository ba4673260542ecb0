import Glibc
import NIOCore
import NIOPosix
import Proxy
import TestSupport
import Testing

@testable import Services

@Suite("PushJob")
struct PushJobTests {
    @Test("input that another process has made non-blocking is read to its end")
    func nonBlockingInput() async throws {
        var ends: [CInt] = [0, 0]
        try #require(pipe(&ends) == 0)
        let (reader, writer) = (ends[0], ends[1])
        defer { close(reader) }
        #expect(fcntl(reader, F_SETFL, O_NONBLOCK) == 0)
        async let input = NIOThreadPool.singleton.runIfActive { try PushInput(file: nil).read(reader, name: "standard input") }
        #expect(write(writer, "a 1\n", 4) == 4)
        // From then on there is nothing to read, and the writer has not ended.
        try await wait(for: "the first line to be read") {
            var state = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
            return poll(&state, 1, 0) == 0
        }
        #expect(write(writer, "b 2\n", 4) == 4)
        close(writer)
        #expect(try await input == ByteBuffer(string: "a 1\nb 2\n"))
    }

    @Test("an encrypted key is named, and the reason says that push takes none")
    func encryptedKey() async throws {
        try await withTemporaryFolder { folder in
            let certificate = try ThrowawayCA().serverCertificate()
            let chain = try folder.write("client.pem", certificate.chainPEM)
            let key = try folder.write("client.key", certificate.encryptedPrivateKeyPEM, mode: 0o600)
            let job = PushJob(
                app: try AppName.named("a"), format: .json, address: .tls(host: "localhost", port: 1), file: nil,
                tls: PushTLSOptions(caFile: chain, certFile: chain, keyFile: key), timeout: .seconds(1))
            let failure = #expect(throws: PushFailure.self) { try PushTLS(job) }
            #expect(failure?.description.hasPrefix("\(key): the private key is encrypted") == true, "\(failure?.description ?? "")")
            #expect(failure?.description.hasSuffix("push takes only a key without a password") == true)
        }
    }
}
