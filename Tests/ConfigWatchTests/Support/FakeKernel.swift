import CInotify
import Foundation
import Synchronization

@testable import ConfigWatch

/// Stands in for inotify: tells what the test makes up.
final class FakeKernel: Sendable {
    struct State {
        var changes: [Change] = []
        var wanted: [FileIdentity: WatchTarget] = [:]
        var openingFailure: InotifyError?
        var armingFailure: InotifyError?
        var refused: [String: Int32] = [:]
        var opened = 0
    }

    let state = Mutex(State())
    let descriptor = cinotify_eventfd()

    var current: State { state.withLock { $0 } }

    deinit { close(descriptor) }

    func happen(_ change: Change) {
        state.withLock { $0.changes.append(change) }
        eventfd_write(descriptor, 1)
    }

    func thread(retryInterval: Duration = .seconds(3600)) throws -> WatchThread {
        try WatchThread(retryInterval: retryInterval) { () throws(InotifyError) in
            let failure = self.state.withLock { state in
                state.opened += 1
                return state.openingFailure
            }
            if let failure { throw failure }
            return Source(kernel: self)
        }
    }

    private final class Source: ChangeSource {
        private let kernel: FakeKernel

        init(kernel: FakeKernel) { self.kernel = kernel }

        var descriptor: Int32 { kernel.descriptor }
        var watchCount: Int { kernel.state.withLock { $0.wanted.count } }
        func close() {}

        func arm(_ wanted: [FileIdentity: WatchTarget]) throws(InotifyError) -> Arming {
            try kernel.state.withLock { state throws(InotifyError) in
                if let failure = state.armingFailure { throw failure }
                state.wanted = wanted
                return Arming(refused: state.refused)
            }
        }

        func drain(_ body: (Change) -> Void) {
            var count: eventfd_t = 0
            eventfd_read(kernel.descriptor, &count)
            let changes = kernel.state.withLock { state in
                defer { state.changes = [] }
                return state.changes
            }
            changes.forEach(body)
        }
    }
}
