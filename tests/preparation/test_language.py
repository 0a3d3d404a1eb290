"""English passes, other languages do not; the sentences are our own."""

import gzip
import json

import pytest

from modules.preparation.features import sentences
from modules.preparation.language import is_foreign, require_language
from utils.errors import UserError

FOREIGN = """
Der Duft ist sehr gut und die Flasche ist schön.
Der Dial ist gut, das Design ist top, der Service war super.
Sehr gutes Produkt, schnelle Lieferung, gerne wieder.
Riecht gut und hält lange.
Die Lotion ist mega
Gute Creme, guter Preis
DER DUFT IST SUPER
Der dial der box ist super
Super Qualität, top Preis
Sehr gut
Nice, aber leider viel zu teuer.
SUPER CREME FÜR TROCKENE HAUT
Le parfum est très bon et la bouteille est jolie.
Très bon produit, livraison rapide.
El aroma es muy bueno y la botella es bonita.
Il profumo è molto buono e la bottiglia è bella.
O cheiro é muito bom e a garrafa é bonita.
De geur is erg goed en de fles is mooi.
Doften är mycket bra och flaskan är fin.
Zapach jest bardzo dobry, a butelka ładna.
Koku çok güzel ve şişe güzel.
Tuoksu on erittäin hyvä ja pullo on kaunis.
Запах очень хороший, и флакон красивый.
Хороший товар
Muy bueno, buen precio
El color es hermoso
Het product is goed
Çok güzel ürün
Sản phẩm tốt
很好用
这个香水的味道很好，瓶子也很漂亮。
香りがとても良くて、ボトルもきれいです。
향이 아주 좋고 병도 예쁘다.
الرائحة جيدة جدا والزجاجة جميلة.
इसकी खुशबू बहुत अच्छी है।
"""
ENGLISH = """
The scent is very good and the bottle is nice.
Nice scent, good price.
My hair likes this Body Wash.
Super cute nail polish
Great hair gel for curls
THE BEST SHAMPOO EVER!!!
gr8 stuff, luv it 2 much
Excelent, my wife luv it
Clinique Estee Lauder Lancome all great.
The crème brûlée of it is nice and – well – good, é.
The gel is top
This Eau de Toilette Pour Homme smells good
Super soft hair
Excellent product.
Love it
Ok
love
yum
AAA+
:)
5/5
"""


@pytest.mark.parametrize("text", FOREIGN.strip().splitlines())
def test_foreign(text):
    assert is_foreign(text)
    assert is_foreign(f"{text} {text}" * 1000)


@pytest.mark.parametrize("text", ["", *ENGLISH.strip().splitlines()])
def test_english_and_what_cannot_be_told(text):
    assert not is_foreign(text)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("modules.preparation.extras.find_spec", lambda name: None)
    require_language("any")
    with pytest.raises(UserError, match=r"py3langid, which is not installed.*--language any"):
        require_language("en")


def test_real_reviews(shared):
    """Of an English shop, as good as none is taken for foreign."""
    with gzip.open(shared / "data" / "raw" / "All_Beauty_5.json.gz", "rt") as file:
        texts = {json.loads(line).get("reviewText", "") for line in file}
    assert len(texts) > 1000
    foreign = [text for text in texts if is_foreign(" ".join(sentences(text)))]
    assert len(foreign) <= 3, foreign
