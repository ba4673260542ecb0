import Exposition
import Testing

@Suite("Bodies that are plainly no metrics")
struct BodyShapeTests {
    private func shape(_ text: String) -> BodyShape? { Array(text.utf8).withUnsafeBytes { BodyShape($0) } }

    @Test(
        "HTML and XML",
        arguments: [
            "<!DOCTYPE html>\n<html>", "\r\n\t <html>", "\u{FEFF}<?xml version=\"1.0\"?>", "<!-- x -->", "<h1>Not found</h1>", "<A>",
        ])
    func html(text: String) { #expect(shape(text) == .html) }

    @Test(
        "JSON",
        arguments: [
            "{}", " { }\n",
            "{\"status\":\"ok\"}", "{ \"a\\\"b\" : 1}", "[]", "[1]", "[{\"a\":1}]", "[ \"a\"]", "[true]", "[-1]", "[null]",
            "\u{FEFF}{}",
        ])
    func json(text: String) { #expect(shape(text) == .json) }

    @Test(
        "what may be metrics, or nothing of these",
        arguments: [
            "", "\n",
            "a 1\n",
            "# HELP a b\n",
            "{\"a\"} 1\n",
            "{\"a\",b=\"c\"} 1\n",
            "{a=\"b\"} 1\n",

            "{\"a\" ", "{", "[", "<", "< a", "[x]", "not found", "404",
        ])
    func others(text: String) { #expect(shape(text) == nil) }

    @Test("little is read of blanks without end")
    func blanks() { #expect(shape(String(repeating: " ", count: 1 << 20) + "<html>") == nil) }
}
