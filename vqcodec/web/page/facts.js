// What the page says of a file: pairs of a name and a text.

export function describe(facts, name, result) {
  const bits = (8 * facts.bytes) / (facts.width * facts.height);
  const kind = facts.grey ? 'grey' : 'RGB';
  const deep = facts.depth > 8 ? ` of ${facts.depth} bits, shown as 8` : '';
  return [
    ['File', name],
    ['Size', `${facts.width} × ${facts.height}, ${kind}${deep}${facts.alpha ? ', alpha' : ''}`],
    ['Bytes', `${facts.bytes.toLocaleString('en')} (${bits.toFixed(3)} bits per pixel)`],
    ...(facts.model ? [['Model', `${facts.model}, level ${facts.level}`]] : []),
    ...(facts.exactTiles ? [['Exact', exact(facts)]] : []),
    ...(facts.tiles > 1 ? [['Tiles', String(facts.tiles)]] : []),
    ...(facts.metadata.length ? [['Metadata', metadata(facts)]] : []),
    ...(facts.cicp ? [['Colours', `H.273 ${facts.cicp.slice(0, 3)}, ${shown(facts)}`]] : []),
    ...(result.seconds === undefined
      ? []
      : [['Decoded', decoded(result)]]),
    ...(result.original ? [['Original', result.original]] : []),
  ];
}

function decoded({seconds, device}) {
  return `in ${seconds.toFixed(2)} s${device ? ` by ${device}` : ''}`;
}

function exact(facts) {
  if (!facts.model) return 'all pixels';
  return facts.tiles > 1 ? `parts of ${facts.exactTiles} of ${facts.tiles} tiles` : 'parts';
}

function metadata(facts) {
  const names = facts.metadata.map(({name, bytes}) => {
    return `${name} (${bytes.toLocaleString('en')} bytes)`;
  });
  const hasProfile = facts.metadata.some(({name}) => name === 'ICC profile');
  return names.join(', ') + (hasProfile ? `; ${shown(facts)}` : '');
}

function shown(facts) {
  return `shown as ${facts.colorSpace === 'display-p3' ? 'Display P3' : 'sRGB'}`;
}

export function fillList(list, pairs) {
  const items = pairs.map(([name, text]) => {
    const [group, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = name;
    value.textContent = text;
    group.append(term, value);
    return group;
  });
  list.replaceChildren(...items);
}
