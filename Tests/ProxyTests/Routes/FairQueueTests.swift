import Proxy
import Testing

@Suite("FairQueue")
struct FairQueueTests {
    @Test("peers take turns, and each gets its elements in the order in which they came")
    func turns() {
        var queue = FairQueue<String>()
        for element in ["a1", "a2", "a3", "b1", "c1", "c2"] { queue.append(element, of: String(element.prefix(1))) }
        #expect(queue.count == 6 && queue.count(of: "a") == 3)
        var order: [String] = []
        while let element = queue.popFirst() {
            order.append(element)
            // It waits for the peer's next turn.
            if element == "b1" { queue.append("b2", of: "b") }
        }
        #expect(order == ["a1", "b1", "c1", "a2", "b2", "c2", "a3"])
        #expect(queue.isEmpty && queue.count(of: "a") == 0)
    }
}
