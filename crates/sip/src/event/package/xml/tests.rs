use super::*;

fn parse(document: &str) -> Result<Element, BodyError> {
    Element::parse(document.as_bytes(), &Limits::default())
}

fn refused_as_malformed(document: &str) {
    assert!(matches!(parse(document), Err(BodyError::Malformed { .. })), "{document} gives {:?}", parse(document));
}

#[test]
fn prefixes_do_not_matter() {
    let one = parse("<a xmlns='urn:x' xmlns:y='urn:y'><b/><y:c y:d='1' e='2'/></a>").unwrap();
    let other = parse("<p:a xmlns:p='urn:x'><b xmlns='urn:x'/><c xmlns='urn:y' xmlns:q='urn:y' q:d='1' e='2'/></p:a>");
    assert_eq!(one, other.unwrap());
}

#[test]
fn a_prefix_means_what_the_nearest_element_says() {
    let root = parse("<p:a xmlns:p='urn:1'><p:b xmlns:p='urn:2'/><p:c/></p:a>").unwrap();
    let names: Vec<_> = root.elements().map(|it| (&*it.namespace, it.name.as_str())).collect();
    assert_eq!(names, [("urn:2", "b"), ("urn:1", "c")]);
}

#[test]
fn what_is_written_reads_back_the_same() {
    for document in [
        "<a/>",
        "<a xmlns='urn:x'><b xmlns=''>t</b><c/></a>",
        "<p:a xmlns:p='urn:x' p:q='1' q='2'><p:b/> <c xmlns='urn:y'/>\n</p:a>",
        "<a xmlns='a&amp;&lt;b' b='&quot;&#10;&#13;&#9;&gt;'>&#13;\r\n<![CDATA[<&]]>&apos;</a>",
        "<a xml:lang='en'><xml:b/></a>",
        "<xml:a/>",
        "<a xmlns:ns1='urn:1' xmlns:ns0='urn:0'><ns0:b/><ns1:b ns0:c=''/></a>",
    ] {
        let element = parse(document).unwrap();
        let written = String::from_utf8(element.to_bytes()).unwrap();
        assert_eq!(parse(&written).as_ref(), Ok(&element), "{written}");
    }
}

#[test]
fn text_comes_in_one_piece() {
    let root = parse("<a>R&amp;<!-- no -->D<?no?> <![CDATA[<b>]]>&#x20AC;</a>").unwrap();
    assert_eq!(root.text(), "R&D <b>€");
    assert_eq!(root.children.len(), 1);
}

#[test]
fn refuses_a_document_type() {
    let laughs = "<!DOCTYPE a [<!ENTITY l 'lol'><!ENTITY m '&l;&l;&l;&l;&l;&l;&l;&l;'>]><a>&m;</a>";
    assert_eq!(parse(laughs), Err(BodyError::Doctype));
    assert_eq!(parse("<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"), Err(BodyError::Doctype));
    refused_as_malformed("<a>&m;</a>");
    refused_as_malformed("<a b='&m;'/>");
}

#[test]
fn refuses_what_exceeds_a_limit() {
    let limits = Limits { bytes: 64, ..Limits::default() };
    assert_eq!(Element::parse(&[b' '; 65], &limits), Err(BodyError::TooLarge));
    assert_eq!(parse(&"<a>".repeat(33)), Err(BodyError::TooDeep));
    assert!(parse(&format!("{}{}", "<a>".repeat(32), "</a>".repeat(32))).is_ok());
    assert_eq!(parse(&format!("<a>{}</a>", "<b/>".repeat(8192))), Err(BodyError::TooManyElements));
    let many: String = (0..33).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(parse(&format!("<a{many}/>")), Err(BodyError::TooManyAttributes));
    let many: String = (0..33).map(|n| format!(" xmlns:a{n}='urn:x'")).collect();
    assert_eq!(parse(&format!("<a{many}/>")), Err(BodyError::TooManyAttributes));
    let many: String = (0..33).map(|n| format!("<b xmlns='urn:{n}'/>")).collect();
    assert_eq!(parse(&format!("<a>{many}</a>")), Err(BodyError::TooManyAttributes));
    assert_eq!(parse(&format!("<a b='{}'/>", "x".repeat(4097))), Err(BodyError::ValueTooLong));
    assert_eq!(parse(&format!("<{}/>", "x".repeat(4097))), Err(BodyError::ValueTooLong));
}

#[test]
fn refuses_other_encodings() {
    assert_eq!(Element::parse(b"<a>\xff</a>", &Limits::default()), Err(BodyError::NotUtf8));
    assert_eq!(Element::parse(b"\xff\xfe<\0a\0/\0>\0", &Limits::default()), Err(BodyError::NotUtf8));
    assert_eq!(parse("<?xml version='1.0' encoding='ISO-8859-1'?><a/>"), Err(BodyError::NotUtf8));
    assert!(parse("\u{feff}<?xml version='1.0' encoding='utf-8'?><a/>").is_ok());
}

#[test]
fn refuses_what_is_not_well_formed() {
    for document in [
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>text",
        "<a/>&amp;",
        "<a b='1' b='2'/>",
        "<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='1' q:b='2'/>",
        "<a xmlns:p='urn:x' xmlns:p='urn:y'/>",
        "<a b=1/>",
        "<a b/>",
        "<a>\u{1}</a>",
        "<a>&#1;</a>",
        "<a b='&#0;'/>",
        "<p:a/>",
        "<a p:b=''/>",
        "<a xmlns:p=''/>",
        "<a xmlns:xml='urn:x'/>",
        "<a xmlns:xmlns='urn:x'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a:b:c xmlns:a='urn:x'/>",
        "<:a/>",
        "<1a/>",
        "<a &='1'/>",
        "<a>&amp</a>",
        "<a>& </a>",
        "<a/><?xml version='1.0'?>",
    ] {
        refused_as_malformed(document);
    }
}

#[test]
fn characters_that_xml_lacks_are_replaced() {
    let written = Element::new("", "a").with("b", "\0").with_text("x\u{b}\u{ffff}").to_bytes();
    let read = Element::parse(&written, &Limits::default()).unwrap();
    assert_eq!((read.attribute("b"), read.text().as_str()), (Some("\u{fffd}"), "x\u{fffd}\u{fffd}"));
}
