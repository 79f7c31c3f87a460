"""How many tokens a text costs at most, without a tokenizer; pure.

The figures are those of the o200k vocabulary, which the tests count with. A piece that the vocabulary does not surely
hold costs as much as its characters ever do; so odd text is overrated, and none is underrated.
"""

from __future__ import annotations

import re
import string
from itertools import repeat

from metaagent.agent.words import bag

_HARD = b"jqxz"
"""Letters that form no token with many others."""
_EASY = b"abcdefghilmnoprstuvwy"
"""All others but `k`: any two of these are one token, so of three in a row two are."""

_ASCII = [chr(code) for code in range(128)]
_LOWER = "".join(each if each.islower() else " " for each in _ASCII).encode() + b" " * 128
_DIGITS = "".join(each if each.isdigit() else " " for each in _ASCII).encode() + b" " * 128
_MARKS = (
    "".join(" " if each == " " else "." if each in string.punctuation else "a" for each in _ASCII).encode() + b"a" * 128
)
"""Tables that leave of each byte what is counted."""
_ENDINGS = '.,:;!?)]}"*`|\n\t-'
"""What may follow a word and is not a part of it."""
_ALL_ASCII = bytes(range(128))
_ONE_OF_TWO = re.compile(r"[À-ÖØ-ÚÜ-öø-ÿА-яёα-ωא-ת]")
_ONE_OF_THREE = re.compile(
    r"[\u2010\u2011\u2013\u2014\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2032\u2033\u2039\u203a]"
)
_TWO_OF_THREE = re.compile(
    r"[\u0900-\u097f\u0e00-\u0e7f\u2012-\u203e\u2190-\u22ff\u2500-\u257f\u3001-\u301f\u3041-\u30ff"
    r"\u4e00-\u5cff\u5e00-\u69ff\u6b00-\u86ff\u8900-\u96ff\u9800-\u9aff\u9e00-\u9eff\uff01-\uff5e]"
)
"""Characters by how many tokens they cost, of the bytes they have. What is in none of these costs its bytes."""

_WORDS = bag(
    """
    a about above abs accept accepted access account accounts across act action actions active adapter add added
    additional address addresses adds admin administrator admit affect after again against agent agents ago alive all
    allow allowed alone already also alt alternative alternatives always amount an and another answer answers any
    anything apart api app append application approval approved apps are args argument arguments array as ask asked
    asking assigned associated async at atomic attempt audience audit auth authenticate authentication author
    authority authorization authors auto available await azure back backend bad bare base based bash basic be beat
    because been before begins behavior behaviour behind being below bench best better between bin binary bind binding
    blank blob block blocks bodies body bool both bound boundary bounds branch broken browser budget bug build built
    but button by byte bytes cache cached call callable callback called caller calls came can cannot capability
    capture carry cart case cases catalogue cause cell chain challenge change changed changes channel channels
    character characters chart chat check checked checker checkout checks choice choices choose circuit claim class
    classes clause clean cli client clients clock close closed cloud cluster code codes collections come comes command
    commands comment comments commit community compare compared compile complete concurrent conditional config connect
    connected connecting connection connections consent console content context contributors control conversation
    cookie copy core cost costs could count counter counts coverage crash create created credentials critical cross
    current cursor custom cut data database date day days decide decimal decode def default defaults defence defined
    delay delete demo dependencies deploy deployment depth description design detail details dev developers
    development device dict did different digest dir direct disable disconnect discord discovery disk django do doc
    docker docs document documentation documents does don done dot double down drop due duplicate during dynamic each
    earlier early edge effect either else email embedded empty enabled encode encoding encryption end endpoint ends
    engineering entries entry envelope environment epoch error errors escape etc even event events every everyone
    everything exact exactly example examples except exception exchange executor exist existing exit expected explicit
    export exposure expression extension external extra extras factory facts fail failed failure fake false family far
    fast fatal fault features fetch field fields figures file filename files filter final finally find finds fine
    first five fix fixed flags flight float flow folder follow following foo for force foreign forge form format forms
    found four frame frames framework free from front frozen full function functions future gate gateway gen generic
    get gets getting github give given gives global gmail go goes gone good google grace grant granted grants group
    groups guide had handle handler handling hang hard has hash have he head header headers health heard help here hex
    hidden high hint history hits hold holds home homepage host hosted hosts hour hours how html http identify
    identity idle if image implementation import imported imports in incl include included including independent index
    info information init initialize injection input inside inspector install installation installed instead
    instructions int intended intent interface internal internet interval into invalid invoke is iso iss issue issues
    it item items iterable iterator its job join json just keep keeps key keys keyword keywords kill kind know known
    label lambda language last late later latest lazy lead lease least leave leaves left legacy len length less let
    level libraries library lifetime like limit limited limits line lines link links list listed listen listener lists
    literal live load loading loads local lock locked log logged logging login logs long longer look looks lookup loop
    lost low lower machine made mail main make makes manage management manager manifest many map mapping markdown
    master match matching math max may me mean means media median medium member members membership memory message
    messages meta metadata method methods metrics microsoft middleware migration min minimum minor minute minutes miss
    missing mode model models modern module modules moment more most mount move multi multiple must my name named
    names native need needed needs negative nested net network never new next no nobody node non none not note notes
    nothing now null number numbers object objects of off offline offset often old older on once one ones online only
    open opens operating operation operations operator option optional options or order orders organization
    organizations origin other others otherwise our out outcome output outside over overrides own owner package
    packages page pages pair parameter parameters params parent parse parser part partial parts pass passed password
    paste patch path paths pattern pending people per performance period permission person pick pipeline place plain
    plan platform please plugins points policy pool port ports possible post pre prefix present previous price primary
    principal print prints priority private process processes producer producers product production program
    programming progress project projects prompt properties property protocol prototype provider providers provides
    proxy public published pull pure put queries query question questions quote raise raised raises ran random range
    rank rate rather ratio raw reach read reading reads ready real reason received recent recommended record recorded
    records redirect ref reference references refresh regex register registration registry related release released
    releases remote remove removed replace replay replica reply repo repository request requested requests required
    requirements requires reset resolve resource resources response responses rest result results retry return returns
    review reviewer revision right rights ring role root rotate rotation round route router routes routing row rows
    rule rules run running runs runtime safe said same say says schema scheme scientific scope score script scripts
    search second seconds secret secrets section security see seed seen select self send sends sent sentence separate
    sequence series serve server servers service services session sessions set sets settings several shape shapes
    share shared shares short should show shows side sign signed simple since single site size sizes skills slack
    sleep slots slow small so socket soft software some somebody someone something sort sorted source sources space
    span spec specific specification spike split src stable stack standard standing start started starts state states
    statistics stats status stay steering step sticky still stop storage store stored stores str stream streams
    stretch strict string strings strip strong style sub subject such suite sum summary support supported supports
    sure sweep switch sync system table tables tag tags take taken takes target tasks team teams template ten tenant
    term terms test testing tests text than that the their them then there these they thing third this those thread
    threads three through time timeout times title to today together token tokens told too tool toolkit tools top
    topic total tracker transaction transit transport tree trip trouble true try tuple turn twice two txt type typed
    types undefined under unicode uniform unique unit unknown unless until up update updated upgrade upper uri url us
    usage use used user username users uses using valid validate validation validator value values var variable vault
    verb verdict verified verify version versions very via view views visible wait waiting want warning was way ways
    we web week weeks well went were what whatever when where whether which while who whoever whole why width will
    window windows wire wiring with within without word words work worked worker workers works world worse would
    wrapped write writes writing written wrong www yes yet yield you your zero zip
    """
)
"""Words that answers are full of: each is one token with the space before it, also with a capital."""


_SAVED = {
    form: 1 + sum(4 if char in "jqxz" else 3 if char == "k" or char.isupper() else 2 for char in form)
    for word in _WORDS
    for form in (word, word.title())
}
"""Thirds of a token that each word costs less than its letters (`_thirds`): it is one, with its space."""


def most_tokens(text: str) -> int:
    """At least as many tokens as `text` has."""
    return -(-(_thirds(text) - _known(text)) // 3)


def fits(text: str, tokens: int) -> bool:
    """Whether `text` surely has no more than `tokens`."""
    over = _thirds(text) - 3 * tokens  # words take as long again to find, and mostly decide nothing
    return over <= 0 or over <= _known(text)


def _known(text: str) -> int:
    """Thirds of a token that the words in `text` save."""
    after_space = map(str.rstrip, text.split(" ")[1:], repeat(_ENDINGS))
    return sum(map(_SAVED.get, after_space, repeat(0)))


def _thirds(text: str) -> int:
    """Thirds of a token of any text of these characters: 3 for a byte, and less or more where that is known."""
    written = text.encode(errors="replace")
    size, numbers = len(written), written.translate(_DIGITS).split()
    cost = 3 * size
    cost -= size - len(written.translate(None, _EASY))
    cost += size - len(written.translate(None, _HARD))
    cost += len(written.translate(_LOWER).split())
    cost -= 2 * (sum(map(len, numbers)) - len(numbers))  # a token holds three digits
    cost -= 3 * written.translate(_MARKS).count(b" .")  # a space and a mark are one
    if size > len(text):
        foreign = written.translate(None, _ALL_ASCII).decode()
        cost += len(foreign)
        cost -= 3 * sum(len(known.findall(foreign)) for known in (_ONE_OF_TWO, _TWO_OF_THREE, _ONE_OF_THREE))
    return cost
