import Glibc
import NIOCore
import NIOPosix
import Proxy
import TLS

extension PollFailure {
    /// What an error on an open connection means; `nil` when the connection ended and nothing more is known.
    init?(connectionError error: any Error, phase: Phase) {
        switch error {
        case let error as TLSError: self.init(error)
        case let error as IOError: self = .connectionEnded(phase, reason: SystemError.words(error.errnoCode))
        case let error as ChannelError where error == .eof || error == .alreadyClosed || error == .ioOnClosedChannel: return nil
        default: self = .connectionEnded(phase, reason: "\(error)")
        }
    }

    /// What an error while connecting means.
    init(connectError error: any Error, timeout: Duration) {
        switch error {
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            self = .connectionRefused
        case let error as IOError:
            self = .couldNotConnect(SystemError.words(error.errnoCode))
        case ChannelError.connectTimeout:
            self = .timedOut(after: timeout, .connecting)
        case let error as NIOConnectionError:
            // One for each address: the last is that of the address which the system prefers least, so the first says more,
            // but a refusal says that the host is there.
            let failures = error.connectionErrors.map { PollFailure(connectError: $0.error, timeout: timeout) }
            if failures.contains(.connectionRefused) {
                self = .connectionRefused
            } else {
                self = failures.first ?? .timedOut(after: timeout, .connecting)
            }
        case let error as TLSError:
            self.init(error)
        default:
            self = .couldNotConnect("\(error)")
        }
    }

    private init(_ error: TLSError) {
        switch error {
        case .peerNotVerified(let reason): self = .certificateNotTrusted(reason)
        case .truncated: self = .truncatedByPeer
        default: self = .tlsFailed("\(error)")
        }
    }
}
