// What a coloured file says of itself, so that nobody takes its colours for a record: XMP, as portrait_gan writes it
// (page 23). A browser writes none, so the finished file is opened again and the note put in.

/** XMP (ISO 16684-1) that names the tool and what coloured the photo. */
function xmp(tool, note) {
  const safe = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
  return `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">`
    + `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""`
    + ` xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"`
    + ` xmlns:portrait_gan="urn:portrait-gan:1.0#" xmp:CreatorTool="${safe(tool)}" portrait_gan:Colorized="${safe(note)}"`
    + ` Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"`
    + `/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`;
}

/** The check sum of a PNG's chunk. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

/** A JPEG or PNG file, with the note in it. */
export async function marked(blob, tool, note) {
  const file = new Uint8Array(await blob.arrayBuffer()), view = new DataView(file.buffer);
  const text = start => new TextEncoder().encode(start + xmp(tool, note));
  let at, piece;
  if (blob.type === "image/jpeg") {
    at = view.getUint16(2) === 0xffe0 ? 4 + view.getUint16(4) : 2;  // behind JFIF's header
    const content = text("http://ns.adobe.com/xap/1.0/\0");
    piece = new Uint8Array(4 + content.length);  // APP1
    new DataView(piece.buffer).setUint32(0, 0xffe10000 + 2 + content.length);
    piece.set(content, 4);
  } else {
    at = 33;  // behind the signature and the header
    const content = text("iTXtXML:com.adobe.xmp\0\0\0\0\0");
    piece = new Uint8Array(8 + content.length);
    const numbers = new DataView(piece.buffer);
    numbers.setUint32(0, content.length - 4);
    piece.set(content, 4);
    numbers.setInt32(4 + content.length, crc32(content));
  }
  return new Blob([file.subarray(0, at), piece, file.subarray(at)], {type: blob.type});
}
