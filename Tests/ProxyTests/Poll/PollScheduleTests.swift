import NIOCore
import Testing

@testable import Proxy

@Suite("PollSchedule")
struct PollScheduleTests {
    private func schedule(_ name: String, _ interval: Duration) -> PollSchedule {
        PollSchedule(url: TargetURL(origin: .http(host: name, port: 80), pathAndQuery: "/"), interval: interval)
    }

    @Test("the first poll comes within a second of the start, and within the interval", arguments: [10, 100, 999, 1_000, 5_000, 3_600_000])
    func first(milliseconds: Int) {
        let start = NIODeadline.uptimeNanoseconds(123_456_789_012)
        let bound = min(Int64(milliseconds) * 1_000_000, 1_000_000_000)
        for number in 0..<200 {
            let first = schedule("host\(number)", .milliseconds(milliseconds)).first(from: start)
            #expect(first >= start)
            #expect((first - start).nanoseconds < bound)
        }
    }

    @Test("moments are exactly an interval apart, whatever happens between them")
    func aligned() {
        let schedule = schedule("a", .seconds(5))
        let first = schedule.next(after: .uptimeNanoseconds(0))
        var moment = first
        for number in 1...100 {
            moment = schedule.next(after: moment)
            #expect(moment == first + .seconds(5 * Int64(number)))
        }
    }

    @Test("moments that a slow poll missed are skipped, not caught up")
    func skipped() {
        let schedule = schedule("a", .seconds(5))
        let first = schedule.next(after: .uptimeNanoseconds(1_000_000_000_000))
        #expect(schedule.next(after: first + .seconds(4)) == first + .seconds(5))
        #expect(schedule.next(after: first + .seconds(5)) == first + .seconds(10))
        #expect(schedule.next(after: first + .milliseconds(17_500)) == first + .seconds(20))
    }

    @Test("a poll that ends after the next moment is followed at once; moments missed by an interval are skipped")
    func late() {
        let schedule = schedule("a", .seconds(5))
        let first = schedule.next(after: .uptimeNanoseconds(1_000_000_000_000))
        let began = first + .milliseconds(1)
        #expect(schedule.next(after: began, endedAt: first + .seconds(2)) == first + .seconds(5))
        #expect(schedule.next(after: began, endedAt: began + .seconds(5)) == began + .seconds(5))
        let last = first + .seconds(10) - .nanoseconds(1)
        #expect(schedule.next(after: began, endedAt: last) == last)
        #expect(schedule.next(after: began, endedAt: first + .seconds(10)) == first + .seconds(15))
    }

    @Test("the next moment is never more than an interval away")
    func neverLater() {
        for number in 0..<100 {
            let now = NIODeadline.uptimeNanoseconds(UInt64(number) * 777_777_777)
            let next = schedule("host\(number)", .seconds(30)).next(after: now)
            #expect(next > now && next <= now + .seconds(30))
        }
    }

    @Test("targets spread over the interval")
    func spread() {
        var tenths = [Int](repeating: 0, count: 10)
        for number in 0..<1000 {
            let moment = schedule("10.0.0.\(number)", .seconds(10)).next(after: .uptimeNanoseconds(0))
            tenths[Int(moment.uptimeNanoseconds / 1_000_000_000) % 10] += 1
        }
        // 100 expected in each; three standard deviations are 28.
        for count in tenths { #expect((60...140).contains(count), "\(tenths)") }
    }

    @Test("moments are slots that targets share, four of them or more", arguments: [1, 20, 500, 1_000, 1_001, 15_000])
    func slots(milliseconds: Int) {
        var moments: Set<UInt64> = []
        for number in 0..<2000 {
            moments.insert(schedule("host\(number)", .milliseconds(milliseconds)).next(after: .uptimeNanoseconds(0)).uptimeNanoseconds)
        }
        let interval = UInt64(milliseconds) * 1_000_000
        let slot = min(250_000_000, interval / 4)
        // The begin of the interval counts as its end.
        #expect(moments.allSatisfy { $0 % slot == 0 || $0 == interval })
        #expect(moments.count >= 4)
    }

    @Test("the same URL has the same moments in every process")
    func stable() {
        let moment = schedule("a", .seconds(3600)).next(after: .uptimeNanoseconds(0))
        #expect(moment == schedule("a", .seconds(3600)).next(after: .uptimeNanoseconds(0)))
        #expect(moment != schedule("b", .seconds(3600)).next(after: .uptimeNanoseconds(0)))
    }

    @Test("an interval of zero does not divide by it")
    func zero() {
        let now = NIODeadline.uptimeNanoseconds(5)
        #expect(schedule("a", .zero).next(after: now) > now)
    }
}
