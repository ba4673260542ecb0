import Testing

@testable import Proxy

@Suite("Timestamps as text")
struct TimestampTextTests {
    @Test(
        "fractional digits come in groups of three, as many as are needed",
        arguments: [
            (0, ""), (1, ".000000001"), (939_898_700, ".939898700"), (406_709_000, ".406709"), (1000, ".000001"), (500_000_000, ".500"),
            (1_000_000, ".001"), (999_999_999, ".999999999"),
        ])
    func fraction(nanosecond: Int64, text: String) {
        let time = Timestamp(nanoseconds: 1_653_263_512_000_000_000 + nanosecond)
        #expect(time.tableText == "2022-05-22 23:51:52\(text) UTC")
        #expect(time.rfc3339 == "2022-05-22T23:51:52\(text)Z")
    }

    // Expected by GNU date.
    @Test(
        "dates are those of the Gregorian calendar, before 1970 too",
        arguments: [
            (0, "1970-01-01 00:00:00 UTC", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-1, "1969-12-31 23:59:59 UTC", "Wed, 31 Dec 1969 23:59:59 GMT"),
            (784_111_777, "1994-11-06 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "2000-02-28 23:59:59 UTC", "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "2000-02-29 00:00:00 UTC", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "2000-03-01 00:00:00 UTC", "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC", "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC", "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC", "Mon, 01 Mar 2100 00:00:00 GMT"),
            (-2_203_891_200, "1900-03-01 00:00:00 UTC", "Thu, 01 Mar 1900 00:00:00 GMT"),
        ])
    func dates(seconds: Int64, table: String, http: String) {
        let time = Timestamp(nanoseconds: seconds * 1_000_000_000)
        #expect(time.tableText == table)
        #expect(time.httpDate == http)
    }

    @Test("the first and last moments that a timestamp can hold have a text")
    func extremes() {
        #expect(Timestamp(nanoseconds: .min).tableText == "1677-09-21 00:12:43.145224192 UTC")
        #expect(Timestamp(nanoseconds: .max).tableText == "2262-04-11 23:47:16.854775807 UTC")
    }
}
