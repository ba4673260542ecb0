import Testing

@testable import Proxy

@Suite("ByteBudget")
struct ByteBudgetTests {
    @Test("what fits exactly is reserved, one byte more is not, all or none")
    func limit() {
        let budget = ByteBudget(limit: ByteCount(10))
        #expect(budget.reserve(4))
        #expect(!budget.reserve(7))
        #expect(budget.used == 4)
        #expect(budget.reserve(6))
        #expect(!budget.reserve(1))
        #expect(budget.reserve(0))
        budget.release(10)
        #expect(budget.used == 0)
    }

    @Test("a lowered limit takes nothing away, and lets nothing more in")
    func lowered() {
        let budget = ByteBudget(limit: ByteCount(10))
        #expect(budget.reserve(8))
        budget.limit = ByteCount(5)
        #expect(budget.used == 8)
        #expect(!budget.reserve(1))
        budget.release(4)
        #expect(budget.reserve(1))
    }

    @Test("a share follows what is held, keeps it when there is no room for more, and is released with its owner")
    func share() {
        let budget = ByteBudget(limit: ByteCount(10))
        do {
            var share = BudgetShare(of: budget)
            #expect(share.hold(8) && budget.used == 8)
            #expect(!share.hold(11) && share.held == 8 && budget.used == 8)
            budget.limit = ByteCount(1)
            #expect(share.hold(3) && share.held == 3 && budget.used == 3)
        }
        #expect(budget.used == 0)
    }

    @Test("a share counts its first bytes although there is no room for them, and no more")
    func always() {
        let budget = ByteBudget(limit: ByteCount(10))
        budget.add(10)
        do {
            var share = BudgetShare(of: budget)
            #expect(share.hold(3, always: 4) && budget.used == 13)
            #expect(share.hold(4, always: 4) && budget.used == 14)
            #expect(!share.hold(5, always: 4) && share.held == 4 && budget.used == 14)
            budget.limit = ByteCount(20)
            #expect(share.hold(6, always: 4) && budget.used == 16)
            #expect(share.hold(2, always: 4) && budget.used == 12)
        }
        #expect(budget.used == 10)
    }

    @Test("many threads never reserve more than the limit together")
    func threads() async {
        let budget = ByteBudget(limit: ByteCount(100))
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<2000 where budget.reserve(30) {
                        #expect(budget.used <= 100)
                        budget.release(30)
                    }
                }
            }
        }
        #expect(budget.used == 0)
    }

    @Test("the peak is the most since it was last asked")
    func peak() {
        let budget = ByteBudget(limit: ByteCount(100))
        #expect(budget.takePeak() == 0)
        #expect(budget.reserve(60))
        budget.release(60)
        budget.add(20)
        #expect(!budget.reserve(90))
        #expect(budget.takePeak() == 60)
        #expect(budget.takePeak() == 20)
        budget.release(20)
        #expect(budget.takePeak() == 20)
        #expect(budget.takePeak() == 0)
    }
}
