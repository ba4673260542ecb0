import Glibc

/// Closed until opened once, from any thread; blocks who waits.
///
/// `@unchecked Sendable`: the pointer never changes, and a POSIX semaphore is made to be used by several threads at once.
/// It is freed when nobody holds the gate any more, so neither who opens nor who waits can be inside.
final class Gate: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        semaphore.initialize(to: sem_t())
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func open() {
        sem_post(semaphore)
    }

    func wait() {
        while sem_wait(semaphore) != 0 && errno == EINTR {}
    }
}
