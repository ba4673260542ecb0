import NIOCore
import Proxy

/// Everything that reads bytes from outside. A fuzzer fails by trapping.
enum FuzzTarget: String, CaseIterable {
    case json
    case capnp
    case push
    case config
    case request
    case response
    case pair
    case connection
    case gunzip
    case url
    case exposition
    case labels
    case groupPath = "group-path"
    case families
    case protobuf
    case state
    case environment
    case tlsServer = "tls-server"
    case tlsClient = "tls-client"
    case tlsRecords = "tls-records"

    /// Set once, before the first input.
    nonisolated(unsafe) static var current = FuzzTarget.json

    func run(_ input: UnsafeRawBufferPointer) {
        switch self {
        case .json: PushFuzzer.run(input, format: .json)
        case .capnp: PushFuzzer.run(input, format: .capnp)
        case .push: PushConnectionFuzzer.run(input)
        case .config: ConfigFuzzer.run(Array(input))
        case .request: RequestFuzzer.run(input)
        case .response: ResponseFuzzer.run(input)
        case .pair: PairFuzzer.run(input)
        case .connection: ConnectionFuzzer.run(input)
        case .gunzip: GunzipFuzzer.run(input)
        case .url: URLFuzzer.run(String(decoding: input, as: UTF8.self))
        case .exposition: ExpositionFuzzer.run(input)
        case .labels: LabelsFuzzer.run(input)
        case .groupPath: GroupPathFuzzer.run(String(decoding: input, as: UTF8.self))
        case .families: FamiliesFuzzer.run(input, isProtobuf: false)
        case .protobuf: FamiliesFuzzer.run(input, isProtobuf: true)
        case .state: StateFuzzer.run(input)
        case .environment: EnvironmentFuzzer.run(input)
        case .tlsServer: TLSBytesFuzzer.runServer(input)
        case .tlsClient: TLSBytesFuzzer.runClient(input)
        case .tlsRecords: TLSRecordsFuzzer.run(input)
        }
    }
}

/// A stream and how it is cut: the first two bytes of an input tell the lengths of the pieces in turn, the rest is the stream.
struct CutStream {
    let bytes: [UInt8]
    private let lengths: [Int]

    init?(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 2 else { return nil }
        lengths = [Int(input[0]) + 1, Int(input[1]) % 16 + 1]
        bytes = Array(input[2...])
    }

    /// The whole stream as one piece.
    var whole: [ByteBuffer] { [ByteBuffer(bytes: bytes)] }

    var pieces: [ByteBuffer] {
        var pieces: [ByteBuffer] = []
        var start = 0
        while start < bytes.count {
            let end = min(start + lengths[pieces.count % 2], bytes.count)
            // With free room, like a read buffer.
            var piece = ByteBuffer()
            piece.reserveCapacity(512)
            piece.writeBytes(bytes[start..<end])
            pieces.append(piece)
            start = end
        }
        return pieces
    }
}
