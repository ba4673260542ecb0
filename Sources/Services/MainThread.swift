import CThreads
import Dispatch
import Glibc
import Synchronization

/// Runs all tasks of the program, one at a time, on the thread that calls `run`.
///
/// By default libdispatch runs them. It makes threads when there is work, and ends them soon after. While the system grants no thread
/// (`TasksMax=` of a unit, the process limit of a container), each thread that resumes a task is blocked, event loops included. The program
/// stands still then, and a stop does not end. `Task.sleep` needs libdispatch, so `EventLoopGroup.sleep` takes its place. A task that blocks
/// holds up all others: what may wait for a file, an account or another machine runs on a `ThreadPool`.
public enum MainThread {
    /// A part of a task. Unchecked, because only one thread uses the pointer at a time: the runtime hands it over once, `run` takes it out of
    /// the queue, and the lock of the queue orders the two.
    private struct Part: @unchecked Sendable {
        let address: UnsafeMutableRawPointer
    }

    /// Global, because there is one runtime in a process, and its hook takes no context.
    private static let waiting = Mutex<[Part]>([])
    private static let arrivals = DispatchSemaphore(value: 0)

    /// Runs `main` and all other tasks of the process. Call it before there is any task.
    public static func run(_ main: @escaping @Sendable () async -> Void) -> Never {
        cthreads_give_tasks_to { address in
            guard let address else { return }
            MainThread.waiting.withLock { $0.append(Part(address: address)) }
            MainThread.arrivals.signal()
        }
        Task.detached {
            await main()
            exit(EXIT_SUCCESS)
        }
        while true {
            arrivals.wait()
            // Several may have come: then some of the next turns find none.
            let parts = waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            }
            for part in parts { cthreads_run(part.address) }
        }
    }
}
